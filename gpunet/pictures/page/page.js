// What pages of pictures and of tables share: the network, and the answer beside the example.

const facts = JSON.parse(document.getElementById("network").textContent);
const network = new Network(facts);
const element = (id) => document.getElementById(id);

function made(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// A share from 0 to 1 that says 0 or 100 only of what is that.
function percent(share) {
  if (share < 1 && share >= 0.9995) return ">99.9%";
  if (share > 0 && share < 0.0005) return "<0.1%";
  return `${(100 * share).toFixed(share > 0 && share < 0.01 || share < 1 && share >= 0.99 ? 1 : 0)}%`;
}

function number(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e7 || size < 1e-3)) return value.toExponential(2);
  return Number(value.toPrecision(4)).toLocaleString("en");
}

function className(index) {
  return facts.classNames[index] ?? String(index);
}

// The answer in words: [what is answered, how sure].
function words(found) {
  if (found.values !== null) {
    return [found.values.map((value, index) => `${facts.targetNames[index] ?? "value"}: ${number(value)}`).join("; "), ""];
  }
  if (found.labels !== null) {
    return [found.labels.map((given, index) => (given ? className(index) : null)).filter((name) => name).join(", ") || "none", ""];
  }
  const sure = found.probabilities === null ? "" : `, ${percent(found.probabilities[found.best])} sure`;
  return [className(found.best), sure];
}

// Bars: probabilities, or without any the outputs from the lowest to the highest.
function bars(found) {
  if (found.values !== null) return [];
  if (found.probabilities !== null) {
    return found.probabilities.map((share, index) => ({ name: className(index), share, text: percent(share) }));
  }
  const low = Math.min(...found.logits, 0), high = Math.max(...found.logits, 0);
  return found.logits.map((value, index) => (
    { name: className(facts.classNames.length > 1 && found.logits.length === 1 ? 1 : index),
      share: high > low ? (value - low) / (high - low) : 0, text: number(value) }));
}

// Text that is there already is not laid out anew.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

let speaking = 0;

// Show an answer, or the sentence that there is none yet.
function showAnswer(found, nothing) {
  const list = element("chances");
  if (found === null) {
    element("answer").textContent = nothing;
    list.replaceChildren();
    return;
  }
  const [said, sure] = words(found);
  write(element("answer"), said + sure);
  let shown = bars(found).map((bar, index) => ({ ...bar, first: found.labels?.[index] ?? index === found.best }));
  if (shown.length > 12) shown = shown.sort((a, b) => b.share - a.share).slice(0, 10);
  list.parentElement.classList.toggle("short", shown.every((bar) => bar.name.length < 3));
  while (list.children.length > shown.length) list.lastChild.remove();
  while (list.children.length < shown.length) {
    list.append(made("li", {}, made("span", { class: "name" }), made("span", { class: "bar" }, made("i")), made("span", { class: "share" })));
  }
  shown.forEach(({ name, share, text, first }, index) => { // in place: this runs with every stroke
    const item = list.children[index], [named, bar, told] = item.children;
    item.classList.toggle("first", first);
    write(named, name);
    write(told, text);
    bar.firstChild.style.transform = `scaleX(${share.toFixed(3)})`;
  });
  clearTimeout(speaking); // a screen reader hears where a stroke or a slider comes to rest
  speaking = setTimeout(() => { element("spoken").textContent = `The answer is ${said}${sure}.`; }, 600);
}

// An example's numbers, from those that the page holds: bytes of pixels or numbers.
function exampleOf(index) {
  const { kind, columns } = facts.examples;
  exampleOf.all ??= numbersOf(facts.examples.inputs, kind);
  return exampleOf.all.slice(index * columns, (index + 1) * columns);
}
