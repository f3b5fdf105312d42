// Runs inside a page of the dashboard: clicks as a person does, and keeps how long each new number took to appear.
(options) => {
  const panels = () => [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
    .map((host) => host.shadowRoot?.querySelector(".rw")).filter((panel) => panel?.firstChild);
  const find = (selector) => {
    for (const panel of panels()) { const at = panel.querySelector(selector); if (at) return at; }
    return null;
  };
  const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const other = (list) => list[Math.floor(Math.random() * list.length)];
  const until = async (question) => {
    const last = performance.now() + options.patience;
    for (let found; performance.now() < last; await pause(options.every)) if ((found = question())) return found;
    throw new Error(`nothing new in ${options.patience} ms`);
  };
  const told = { choose: [], open: [], back: [], errors: [], done: false };
  window.told = told;
  const timed = async (kind, target, question) => {
    const started = performance.now();
    target.click();
    await until(question);
    told[kind].push(performance.now() - started);
    const text = panels().map((panel) => panel.textContent).join(" ");
    if (/Something went wrong|cannot be shown|There is no such/.test(text)) told.errors.push(text.slice(0, 200));
    if (document.querySelector("[data-testid=stException]")) told.errors.push("an exception");
    await pause(options.think * (0.5 + Math.random()));
  };

  const steps = {
    // The overview's control: every projected amount changes with it.
    async choose() {
      const numbers = () => find("tr[data-quarter] td[data-value]") &&
        panels().flatMap((panel) => [...panel.querySelectorAll("td[data-value]")]).map((cell) => cell.dataset.value).join();
      const before = await until(numbers);
      const control = other([...document.querySelectorAll("[role=radio][aria-checked=false]")]);
      await timed("choose", control, () => (numbers() || before) !== before);
    },
    // Another experiment from the list, and back.
    async open() {
      await until(() => find("tr[data-experiment] a[data-open]"));
      const link = other(panels().flatMap((panel) => [...panel.querySelectorAll("tr[data-experiment] a[data-open]")]));
      const name = link.dataset.open;
      await timed("open", link, () => find(`article[data-experiment="${name}"]`) && find(".scorecard [data-value]"));
      const back = await until(() => [...document.querySelectorAll("a")].find((each) => each.textContent.includes("← All")));
      await timed("back", back, () => find("tr[data-experiment] a[data-open]") && !find("article[data-experiment]"));
    },
  };
  const work = async () => {
    const last = performance.now() + options.milliseconds;
    try {
      while (performance.now() < last && told[options.kind].length < options.most) await steps[options.kind]();
    } catch (error) { told.errors.push(`${options.kind}: ${error.message}`); }
    told.done = true;
  };
  work();
}
