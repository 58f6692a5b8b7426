"""What `benchmark occlusion` measured, for people."""

from collections.abc import Mapping
from typing import Any

CONTESTANTS = ("ours", "full", "captum_default", "captum_best", "openvino", "onnxruntime")


def speed_table(figures: Mapping[str, Any]) -> str:
    """One line a contestant, and what the windows save."""
    lines = [
        f"{figures['network']} ({figures['weights']} weights), {figures['side']} px, "
        f"boxes of {figures['box']} every {figures['step']}, "
        f"{figures['device']}, {figures['precision']}, {figures['threads']} threads",
        f"{'':16}{'s/image':>10}{'spread':>10}{'times ours':>12}{'peak MiB':>10}{'beside':>10}",
    ]
    lines += [_speed_line(name, figures[name]) for name in CONTESTANTS if name in figures]
    rate = figures["ours_products_per_second"] / figures["matmul_products_per_second"]
    turned = figures["saving_turned_into_time"]
    lines.append(
        f"theoretical saving {figures['theoretical_saving']:.2f}, turned into time: "
        f"{'-' if turned is None else f'{turned:.0%}'}; "
        f"{figures['ours_products_per_second'] / 1e9:.1f} G products/s, "
        f"{rate:.0%} of this machine's matrix product"
    )
    if figures["ours"]["seconds_beside_a_loop"] is not None:
        lines.append("beside: seconds an image while another process keeps one core busy")
    return "\n".join(lines)


def _speed_line(name: str, measured: Mapping[str, Any]) -> str:
    peak, beside = measured["peak_memory_bytes"], measured["seconds_beside_a_loop"]
    return (
        f"{name:16}{measured['seconds_per_image']:10.3f}{measured['spread']:10.3f}"
        f"{measured['ratio']:12.1f}{'-' if peak is None else f'{peak / 2**20:.0f}':>10}"
        f"{'-' if beside is None else f'{beside:.3f}':>10}"
    )
