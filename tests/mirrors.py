"""Why a module has no test file of its own: held by `test_house.py`.

`a/b/c.py` has its tests in `tests/b/test_c.py`, benchmarks and the client in folders of their
names. For all others, a module's or a folder's name, and the sentence. A test file that a sentence
names is there.
"""

BY_HAND = "it measures by hand; its figures are in benchmarks/results, and `make docs` reads them"
WITHOUT_MIRROR = {
    # the library
    "weakpoints/__main__.py": "tests/cli/test_main.py and tests/test_platforms.py run it",
    "weakpoints/class_names.py": "tests/test_options.py and tests/test_given_options.py",
    "weakpoints/coco.py": "tests/batch/test_coco.py and tests/landmarks/test_annotations.py",
    "weakpoints/errors.py": "errors alone: whoever raises one has the test",
    "weakpoints/progress.py": "two functions of one line; tests/test_api.py sees what they tell",
    "weakpoints/engine/": "tests/engine/test_engine.py and tests/engine/windows/test_form.py "
    "compare every form with the whole network, in float64",
    "weakpoints/evaluation/": "tests/evaluation/test_evaluation.py runs every study on toys",
    "weakpoints/images/folders.py": "tests/batch/test_collection.py walks folders",
    "weakpoints/images/given.py": "tests/test_api.py gives each kind",
    "weakpoints/images/parts.py": "tests/images/test_jpeg.py, tests/images/test_png.py and "
    "tests/images/test_webp.py cut parts off",
    "weakpoints/landmarks/exports/": "tests/landmarks/test_exports.py reads each tool's files",
    "weakpoints/landmarks/": "tests/landmarks/test_stages.py and tests/landmarks/test_finder.py "
    "compare each stage with tests/landmarks/oracle.py",
    "weakpoints/method/frame.py": "tests/method/test_detector.py maps points there and back",
    "weakpoints/method/peaks.py": "tests/method/test_close_up.py, tests/method/test_detector.py",
    "weakpoints/method/stages.py": "dataclasses alone; tests/method/test_detector.py fills them",
    "weakpoints/networks/": "tests/networks/test_manifest.py reads each network, "
    "tests/networks/graph/test_graph.py each graph",
    # the service
    "app/batch/": "tests/batch/test_run.py writes and resumes; tests/batch/test_coco.py, "
    "tests/batch/test_formats.py and tests/batch/test_named.py read what was written",
    "app/cli/correspondence.py": "tests/evaluation/test_correspondence.py runs the command",
    "app/cli/terminal.py": "tests/cli/test_main.py sees what commands say",
    "app/cluster/reading.py": "tests/cluster/test_data.py reads with it",
    "app/schemas/": "tests/test_given_options.py has what comes in, "
    "tests/client/test_models.py what goes out",
    "app/service/api/": "tests/service/api/test_routes.py asks every route, "
    "tests/service/api/test_landmarks_protocols.py those of named points",
    "app/service/app.py": "wiring alone; tests/service/http/test_middleware.py runs it whole",
    "app/service/http/problem_document.py": "tests/service/api/test_routes.py reads each problem",
    "app/service/http/problems.py": "tests/service/api/test_routes.py reads each problem",
    "app/service/http/signals.py": "tests/service/test_server.py, tests/cli/test_serve.py",
    "app/service/intake/refusals.py": "tests/service/intake/test_upload.py reads each sentence",
    "app/service/labelstudio/": "tests/service/labelstudio/test_backend.py and "
    "tests/service/labelstudio/test_hostile.py ask it as Label Studio does",
    "app/service/landmark_sets.py": "tests/service/api/test_landmarks.py puts, asks and deletes",
    "app/service/named_answers.py": "tests/service/api/test_landmarks.py",
    "app/service/references.py": "tests/service/api/test_landmarks.py",
    "app/service/scheduling/pipeline.py": "tests/service/http/test_deadlines.py and "
    "tests/service/test_faults.py end it at each stage",
    # the client
    "client/src/weakpoints_client/": "tests/client/test_client.py runs both clients on a service, "
    "tests/client/test_calls.py what they read",
    # measuring
    "benchmarks/attacks.py": "benchmarks/hostile.py throws them; "
    "tests/service/http/test_protocol.py has those on a connection",
    "benchmarks/machine.py": "tests/benchmarks/test_speed.py",
    "benchmarks/memory.py": "tests/docs/test_memory_bound.py",
    "benchmarks/rivals.py": "tests/benchmarks/test_speed.py compares each with our own",
    "benchmarks/": BY_HAND,
}
