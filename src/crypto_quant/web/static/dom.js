// Elements without markup: text is only ever set as text, whatever a symbol or an error is called.

export const byId = (id) => document.getElementById(id);

// el("td", { class: "n", text: "12" }, child…); `on` holds listeners, `data` and `aria` their attributes
export function el(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "data") for (const [key, each] of Object.entries(value)) node.dataset[key] = each;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// what has not changed is not touched: neither layout nor a screen reader hears of it
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function speak(text) {
  say(byId("spoken"), text);
}

// a colour of the theme that is shown
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
