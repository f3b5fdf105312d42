// Shows HTML that the server has escaped. What is no plain content is removed all the same: two locks on one door.
const TAGS = new Set(("a article b br caption circle code dd div dl dt em h1 h2 h3 header hr i li line ol p path rect " +
  "section small span strong svg table tbody td text tfoot th thead time title tr ul").split(" "));
const LINK = /^(experiment|metrics|releases)?\?[a-z_]+=[^:/]*$/;

function clean(body) {
  for (const element of [...body.querySelectorAll("*")]) {
    if (!TAGS.has(element.localName)) { element.remove(); continue; }
    for (const { name, value } of [...element.attributes]) {
      const link = /href|src|action/i.test(name);
      if (/^on/i.test(name) || (link && !(element.localName === "a" && name === "href" && LINK.test(value)))) {
        element.removeAttribute(name);
      }
    }
  }
  return [...body.childNodes];
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".rw");
  if (root.shown !== data.html) {
    root.replaceChildren(...clean(new DOMParser().parseFromString(data.html, "text/html").body));
    root.shown = data.html;
  }
  // A plain click stays in this session; a new tab or window follows the address.
  root.onclick = (event) => {
    const link = event.target.closest("a[data-open]");
    if (link && event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      setTriggerValue("opened", link.dataset.open);
    }
  };
}
