// What is asked of the service. The type says nothing of the file: the service looks at its bytes.

const headers = (key, more = {}) => ({
  "Content-Type": "application/octet-stream",
  ...(key ? { Authorization: `Bearer ${key}` } : {}),
  ...more,
});

async function ask(path, body, init) {
  const response = await fetch(path, { method: "POST", body, ...init }).catch((error) => explain(error, body));
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  throw new Error(problem?.detail ?? `the service answered ${response.status}`);
}

/** fetch says the same of a service that is gone and of a file that is. */
async function explain(error, file) {
  if (error.name !== "TypeError") throw error; // the page gave the request up
  const readable = await file.slice(0, 1).arrayBuffer().then(() => true, () => false);
  throw new Error(readable ? "The service can't be reached." : "The file can't be read any more: it was changed, moved or deleted. Choose it again.");
}

/** Query of the classes to explain, by index; none: the predicted one. */
export const queryOf = (targets, more = {}) =>
  new URLSearchParams({ ...(targets.length ? { target_class: targets.join() } : {}), ...more });

/** Events of a detection, as [name, data]: progress, then result. Throws what is refused. */
export async function* detect(file, targets, key, signal) {
  const init = { headers: headers(key, { Accept: "text/event-stream" }), signal };
  const response = await ask(`detect?${queryOf(targets)}`, file, init);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name !== "TypeError") throw error;
      return { done: true };
    });
    if (done) throw new Error("the connection was lost before the answer came");
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = block.match(/^event: (\w+)\ndata: (.*)$/s) ?? [];
      if (name === "error") throw new Error(JSON.parse(data).detail);
      if (name) yield [name, JSON.parse(data)];
      if (name === "result") return;
    }
  }
}

/** A PNG of `/heatmap`. */
export async function heatmap(file, query, key) {
  return (await ask(`heatmap?${query}`, file, { headers: headers(key) })).blob();
}
