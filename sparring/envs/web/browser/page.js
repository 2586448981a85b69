// What the agent sees of a page and how its actions find their elements. It runs in a world of its own, so that the
// page can neither read nor replace it; the DOM is all that the two share.
(() => {
  const elements = new Map();
  let numbers = new WeakMap(), next = 1;
  const SKIPPED = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "META", "LINK", "HEAD", "TITLE", "BASE"]);
  const GRAPHICS = new Set(["circle", "rect", "ellipse", "polygon", "path", "line", "polyline", "text", "image"]);
  const ROLES = {
    A: "link", BUTTON: "button", TEXTAREA: "textbox", IMG: "image", LI: "item", SUMMARY: "button", CANVAS: "canvas",
    H1: "heading", H2: "heading", H3: "heading", H4: "heading", H5: "heading", H6: "heading", TR: "row", IFRAME: "frame",
    VIDEO: "video", AUDIO: "audio", OPTION: "option",
  };
  const INPUTS = {
    checkbox: "checkbox", radio: "radio", button: "button", submit: "button", reset: "button", image: "button",
    range: "slider", number: "spinbutton", search: "searchbox", file: "file", color: "color", date: "date",
    time: "time", month: "month", week: "week", "datetime-local": "datetime",
  };
  const WIDGETS = new Set([
    "button", "link", "checkbox", "radio", "textbox", "searchbox", "combobox", "listbox", "option", "menuitem",
    "menuitemcheckbox", "menuitemradio", "tab", "switch", "slider", "spinbutton", "treeitem", "gridcell",
  ]);

  // The fields of a form hide its own properties: one named "tagName" or "childNodes" is what form.tagName gives. A form
  // is therefore read through its prototype, which is this world's own.
  const tamed = new WeakMap();
  const raw = (element) => tamed.get(element) ?? element;
  const tame = (element) => {
    if (tamed.has(element) || Object.prototype.toString.call(element) !== "[object HTMLFormElement]") return element;
    const form = new Proxy(element, { get: (target, name) => {
      const value = Reflect.get(Object.getPrototypeOf(target), name, target);
      return typeof value === "function" ? value.bind(target) : value;
    } });
    tamed.set(form, element);
    return form;
  };
  const numberOf = (element) => {
    const one = raw(element);
    if (!numbers.has(one)) { numbers.set(one, next); elements.set(next++, new WeakRef(one)); }
    return numbers.get(one);
  };
  const elementOf = (number) => {
    const element = elements.get(number)?.deref();
    if (!element) elements.delete(number);
    return element && element.isConnected ? element : null;
  };
  const styleOf = (element) => tame(element).ownerDocument.defaultView.getComputedStyle(raw(element));
  // Only a beginning is ever copied, however long the text is, and of that what can be seen and typed: what begins a
  // line anywhere becomes a blank; control and format characters and halves of pairs go.
  const brief = (text, limit) => {
    const start = String(text ?? "").slice(0, 4 * limit).replace(/[\s\x1c-\x1f\x85]+/g, " ").replace(/\p{C}+/gu, "").trim();
    return start.length > limit ? start.slice(0, limit).replace(/\p{Cs}$/u, "") + "…" : start;
  };
  const textOf = (element, limit) => {
    const walker = element.ownerDocument.createTreeWalker(raw(element), 4);
    let text = "";
    for (let count = 0, node; count < 400 && text.length < 4 * limit && (node = walker.nextNode()); count++) {
      if (!SKIPPED.has(node.parentNode.tagName)) text += node.data.slice(0, 4 * limit) + " ";
    }
    return brief(text, limit);
  };
  const tagOf = (element) => brief(element.tagName.toLowerCase(), 30);
  const roleOf = (element) => {
    const named = (element.getAttribute("role") || "").trim().split(/\s+/)[0].slice(0, 30).toLowerCase();
    if (/^[a-z-]+$/.test(named) && named !== "presentation" && named !== "none") return named;
    if (element.tagName === "INPUT") return INPUTS[element.type] || "textbox";
    if (element.tagName === "SELECT") return element.multiple ? "listbox" : "combobox";
    if (element.tagName === "A" && !element.hasAttribute("href")) return "";
    if (element.isContentEditable && !element.parentElement?.isContentEditable) return "textbox";
    return ROLES[element.tagName] || "";
  };
  const isWidget = (element, role, style) => {
    if (element.tagName === "INPUT") return element.type !== "hidden";
    if (["BUTTON", "SELECT", "TEXTAREA", "SUMMARY"].includes(element.tagName)) return true;
    if (element.tagName === "A" && element.hasAttribute("href")) return true;
    if (WIDGETS.has(role) || element.hasAttribute("onclick") || element.draggable === true && role !== "image" && element.tagName !== "A") return true;
    if (element.tagName === "BODY" || element.tagName === "HTML" || element.tagName === "LABEL") return false;
    if (element.hasAttribute("tabindex") && element.tabIndex >= 0) return true;
    return style.cursor === "pointer" && (!element.parentElement || styleOf(element.parentElement).cursor !== "pointer");
  };
  const nameOf = (element, role, limit) => {
    const labelled = (element.getAttribute("aria-labelledby") || "").slice(0, 200).split(/\s+/).filter(Boolean).slice(0, 5);
    const texts = labelled.map((id) => element.getRootNode().getElementById?.(id)).filter(Boolean);
    if (texts.length) return brief(texts.map((one) => textOf(one, limit)).join(" "), limit);
    const label = element.getAttribute("aria-label");
    if (label && label.trim()) return brief(label, limit);
    if (element.tagName === "INPUT" && ["button", "submit", "reset"].includes(element.type)) {
      return brief(element.value || (element.type === "submit" ? "Submit" : element.type === "reset" ? "Reset" : ""), limit);
    }
    if (element.labels && element.labels.length) return brief([...element.labels].slice(0, 3).map((one) => textOf(one, limit)).join(" "), limit);
    if (["IMG", "IMAGE"].includes(element.tagName) || element.type === "image") return brief(element.getAttribute("alt") || element.getAttribute("title"), limit);
    if (["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName)) {
      return brief(element.getAttribute("placeholder") || element.getAttribute("title") || element.getAttribute("name"), limit);
    }
    return role === "textbox" ? brief(element.getAttribute("title"), limit) : textOf(element, limit) || brief(element.getAttribute("title"), limit);
  };
  const statesOf = (element, role, limit) => {
    const states = {};
    if (["textbox", "searchbox", "spinbutton", "slider", "date", "time", "month", "week", "datetime", "color"].includes(role)) {
      const value = element.tagName === "INPUT" || element.tagName === "TEXTAREA" ? element.value : textOf(element, limit);
      states.value = element.type === "password" ? "•".repeat(Math.min(value.length, 20)) : brief(value, limit);
    }
    if (element.tagName === "SELECT") {
      states.value = brief([...element.selectedOptions].slice(0, 20).map((one) => one.label).join(", "), limit);
      states.options = [...element.options].slice(0, 100).map((one) => brief(one.label, 100));
    }
    const on = (name) => element.getAttribute("aria-" + name) === "true";
    if (element.checked === true || on("checked")) states.checked = true;
    if (on("selected")) states.selected = true;
    if (on("pressed")) states.pressed = true;
    const current = element.getAttribute("aria-current");
    if (current && current !== "false") states.current = true;
    if (element.hasAttribute("aria-expanded")) states.expanded = on("expanded");
    if (element.disabled === true || on("disabled")) states.disabled = true;
    if (element.readOnly === true) states.readonly = true;
    if (element.ownerDocument.activeElement === raw(element)) states.focused = true;
    return states;
  };
  const graphicStates = (element, style) => {
    const box = element.getBoundingClientRect();
    return { fill: brief(style.fill, 100), size: `${Math.round(box.width)}x${Math.round(box.height)}` };
  };
  // Whether text of a child reads on in its parent's line: inline, and nothing in it that could be acted on.
  const readsOn = (given, settings) => {
    const element = tame(given);
    if (settings.ids === "all" || SKIPPED.has(element.tagName)) return false;
    const style = styleOf(element);
    if (!style.display.startsWith("inline") || style.visibility !== "visible" || element.namespaceURI.endsWith("svg")) return false;
    if (roleOf(element) || isWidget(element, "", style) || element.shadowRoot) return false;
    return element.childElementCount < 20 && [...element.children].every((child) => readsOn(child, settings));
  };

  // Chromium's clipboard is one for all contexts of a browser. What is cut and copied here, by the agent or by the
  // page's own `execCommand`, is noted as it is; it is pasted by `paste` alone, never out of that clipboard.
  const MOST_COPIED = 100000;
  const listened = new WeakSet();
  let copied = null;
  const selectedIn = (root) => {
    const field = tame(root.activeElement ?? root.body);
    if (field?.type === "password") return "";
    const typed = field && typeof field.value === "string" && typeof field.selectionStart === "number";
    return typed ? field.value.slice(field.selectionStart, field.selectionEnd) : String(root.getSelection());
  };
  const note = (event) => {
    if (!event.isTrusted) return;
    const text = event.defaultPrevented ? event.clipboardData.getData("text/plain") : selectedIn(event.currentTarget.document);
    if (text || event.defaultPrevented) copied = text.slice(0, MOST_COPIED);
  };
  const listen = (root) => {
    if (!root.defaultView || listened.has(root)) return;
    listened.add(root);
    for (const kind of ["cut", "copy"]) root.defaultView.addEventListener(kind, note);
  };
  // The innermost element with the focus, through frames of this origin and open shadows.
  const focused = () => {
    let one = document.activeElement ?? document.body;
    for (let inner; (inner = one?.shadowRoot?.activeElement ?? one?.contentDocument?.activeElement); ) one = inner;
    return one && tame(one);
  };
  let key = null;
  const awaitKey = () => {
    key = null;
    focused()?.ownerDocument.defaultView.addEventListener("keydown", (event) => { key = event; }, { once: true, capture: true });
    return true;
  };
  // Tells the page of a paste; returns whether it leaves the text to be inserted.
  const paste = (text) => {
    if (key?.defaultPrevented) return false;
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    const told = { clipboardData, bubbles: true, cancelable: true, composed: true };
    return focused()?.dispatchEvent(new ClipboardEvent("paste", told)) ?? false;
  };

  const forget = () => { numbers = new WeakMap(); elements.clear(); next = 1; return true; };
  const look = (settings) => {
    if (settings.renumber) forget();
    const found = [], limit = settings.text_chars, taken = copied;
    copied = null;
    listen(document);
    let seen = 0, cut = false;
    const excluded = settings.exclude ? new Set(document.querySelectorAll(settings.exclude)) : new Set();
    const numbered = new Set();
    const emit = (node) => { if (found.length < settings.nodes) found.push(node); else cut = true; return found.length < settings.nodes; };
    const boxOf = (element, dx, dy) => {
      const box = element.getBoundingClientRect();
      return [box.x + dx, box.y + dy, box.width, box.height].map((one) => Math.round(one * 10) / 10);
    };
    const visit = (given, depth, dx, dy) => {
      if (cut || ++seen > 20 * settings.nodes) { cut = true; return; }
      const element = tame(given);
      if (depth > 200 || SKIPPED.has(element.tagName) || excluded.has(given)) return;
      const style = styleOf(given);
      if (style.display === "none") return;
      const box = boxOf(element, dx, dy), svg = element.namespaceURI.endsWith("svg");
      const shown = style.visibility === "visible" && box[2] > 0 && box[3] > 0;
      const role = roleOf(element), widget = shown && isWidget(element, role, style);
      const graphic = svg && GRAPHICS.has(element.tagName.toLowerCase()) && (settings.ids === "all" || widget);
      const quiet = { depth, role: role || tagOf(element), box };
      if (element.tagName === "IFRAME") {
        let inner = null;
        try { inner = element.contentDocument; } catch (error) { inner = null; }
        if (!emit({ ...quiet, name: inner ? "" : "of another origin", states: {} })) return;
        if (inner) listen(inner);
        if (inner && inner.body) visit(inner.body, depth + 1, box[0] + element.clientLeft, box[1] + element.clientTop);
        return;
      }
      if (graphic && shown) {
        emit({ ...quiet, id: numberOf(element), role: tagOf(element), name: textOf(element, limit), states: graphicStates(element, style), widget: true });
        return;
      }
      if (widget) {
        const whole = !["textbox", "searchbox"].includes(role) || element.tagName === "INPUT" || element.tagName === "TEXTAREA";
        const name = nameOf(element, role, limit);
        emit({ ...quiet, id: numberOf(element), name, states: statesOf(element, role, limit), widget: true });
        if (["BUTTON", "A", "SELECT", "INPUT", "TEXTAREA"].includes(element.tagName) && settings.ids !== "all" || whole && !element.childElementCount) return;
        const inner = [...element.querySelectorAll("*")].slice(0, 200);
        if (["SELECT", "INPUT", "TEXTAREA"].includes(element.tagName) || !inner.some((one) => isWidget(one, roleOf(one), styleOf(one)) || one.namespaceURI.endsWith("svg"))) return;
        return children(element, depth + 1, dx, dy, false);
      }
      if (role === "image" && shown) { emit({ ...quiet, name: nameOf(element, role, limit), states: {}, ...(settings.ids === "all" ? { id: numberOf(element), widget: true } : {}) }); return; }
      if (element.tagName === "CANVAS" && shown && settings.ids === "all") { emit({ ...quiet, id: numberOf(element), name: "", states: {}, widget: true }); return; }
      if (element.tagName === "TR" && shown && settings.ids !== "all" && ![...element.querySelectorAll("*")].slice(0, 200).some((one) => isWidget(one, roleOf(one), styleOf(one)))) {
        emit({ ...quiet, name: brief([...element.cells].slice(0, 50).map((one) => textOf(one, limit)).join(" | "), limit), states: {} });
        return;
      }
      children(element, ["heading", "item", "row"].includes(role) ? depth + 1 : depth, dx, dy, true, shown ? quiet : null);
    };
    const children = (element, depth, dx, dy, texts, line = null) => {
      let run = "";
      const owner = line && (line.role === "heading" || line.role === "item") ? line.role : "text";
      const flush = () => {
        const text = brief(run, limit);
        run = "";
        if (!text || !texts || !line || element.closest("label")?.control) return;  // a label names its control already
        const node = { depth: line.depth, role: owner, name: text, box: line.box, states: {} };
        if (settings.ids === "all" && element.tagName !== "BODY" && !numbered.has(raw(element))) { numbered.add(raw(element)); node.id = numberOf(element); node.widget = true; node.role = owner === "text" ? tagOf(element) : owner; }
        emit(node);
      };
      const inside = element.shadowRoot ? [...element.shadowRoot.childNodes] : element.childNodes;
      let count = 0;
      for (const child of inside) {
        if (cut || ++count > 20 * settings.nodes) { cut = true; break; }
        if (child.nodeType === 3) { if (run.length < 4 * limit) run += child.data.slice(0, 4 * limit); }
        else if (child.nodeType === 1) {
          if (child.tagName === "BR") { flush(); continue; }
          if (child.tagName === "SLOT") { flush(); for (const one of child.assignedElements().slice(0, 200)) visit(one, depth, dx, dy); continue; }
          if (readsOn(child, settings)) { if (run.length < 4 * limit) run += child.textContent.slice(0, 4 * limit); }
          else { flush(); visit(child, depth, dx, dy); }
        }
      }
      flush();
    };
    if (document.body) visit(document.body, 0, 0, 0);
    const root = document.scrollingElement || document.documentElement;
    return {
      url: location.href.slice(0, 8000), title: brief(document.title, limit), nodes: found, cut, copied: taken,
      scroll: root ? { up: root.scrollTop > 0, down: root.scrollTop + innerHeight < root.scrollHeight - 1 } : { up: false, down: false },
      size: [innerWidth, innerHeight],
    };
  };

  const FREE = [0.3, 0.7, 0.1, 0.9].flatMap((x) => [0.5, 0.3, 0.7, 0.1, 0.9].map((y) => [x, y])).concat([0.3, 0.7, 0.1, 0.9].map((y) => [0.5, y]));
  const isShown = (element) => tame(element).checkVisibility({ visibilityProperty: true });
  const locate = (number, scroll) => {
    const element = elementOf(number);
    if (!element) return "gone";
    if (!isShown(element)) return "hidden";
    const view = () => {
      let box = element.getClientRects()[0] || element.getBoundingClientRect(), dx = 0, dy = 0;
      for (let frame = element.ownerDocument.defaultView.frameElement; frame; frame = frame.ownerDocument.defaultView.frameElement) {
        const outer = frame.getBoundingClientRect();
        dx += outer.x + frame.clientLeft; dy += outer.y + frame.clientTop;
      }
      return [box.x + dx, box.y + dy, box.width, box.height];
    };
    let box = view();
    const outside = () => box[0] + box[2] / 2 < 0 || box[1] + box[3] / 2 < 0 || box[0] + box[2] / 2 >= innerWidth || box[1] + box[3] / 2 >= innerHeight;
    const covered = (x = 0.5, y = 0.5) => {
      const at = element.ownerDocument.elementFromPoint(box[0] + box[2] * x, box[1] + box[3] * y);
      return element.ownerDocument === document && at && !tame(element).contains(at) && !tame(at).contains(element);
    };
    if (!scroll) return { x: box[0] + box[2] / 2, y: box[1] + box[3] / 2, width: box[2], height: box[3] };
    if (outside() || covered()) { element.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" }); box = view(); }
    if (outside()) { element.scrollIntoView({ block: "center", inline: "center", behavior: "instant" }); box = view(); }
    // Where another element lies over its middle, a part that is free: a click there is one on this element.
    const [x, y] = covered() ? FREE.find((part) => !covered(...part)) ?? [0.5, 0.5] : [0.5, 0.5];
    return { x: box[0] + box[2] * x, y: box[1] + box[3] * y, width: box[2], height: box[3] };
  };

  const announce = (element) => {
    element.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    element.dispatchEvent(new Event("change", { bubbles: true, composed: true }));
  };
  // Gives the element the focus with all that it holds selected, so that typing replaces it; special inputs are set.
  const enter = (number, text) => {
    const element = elementOf(number);
    if (!element) return "gone";
    if (element.disabled || element.readOnly) return "fixed";
    const typed = element.tagName === "TEXTAREA" || element.isContentEditable ||
      element.tagName === "INPUT" && ["text", "search", "email", "url", "tel", "password", "number"].includes(element.type);
    if (!typed && element.tagName !== "INPUT") return "no field";
    if (!typed && ["checkbox", "radio", "button", "submit", "reset", "image", "file", "hidden"].includes(element.type)) return "no field";
    if (!isShown(element)) return "hidden";
    element.focus();
    if (!typed) {
      const before = element.value;
      element.value = text;
      if (element.value !== text && element.value !== text.trim() && element.type !== "range" && element.type !== "color") { element.value = before; return "no value"; }
      announce(element);
      return "set";
    }
    if (element.select) element.select(); else element.ownerDocument.getSelection().selectAllChildren(element);
    return "ready";
  };
  const choose = (number, label) => {
    const element = elementOf(number);
    if (!element) return "gone";
    if (element.tagName !== "SELECT") return "no list";
    if (element.disabled) return "fixed";
    if (!isShown(element)) return "hidden";
    const options = [...element.options];
    const option = options.find((one) => brief(one.label, 100) === label) || options.find((one) => one.value === label);
    if (!option || option.disabled) return "no option";
    element.focus();
    if (element.multiple) option.selected = !option.selected; else option.selected = true;
    announce(element);
    return "set";
  };
  const scroll = async (number, dx, dy) => {
    let element = number ? elementOf(number) : document.scrollingElement || document.documentElement;
    if (!element) return "gone";
    const moves = (one) => {
      const before = [one.scrollLeft, one.scrollTop];
      one.scrollBy({ left: dx * 0.8 * one.clientWidth, top: dy * 0.8 * one.clientHeight, behavior: "instant" });
      return one.scrollLeft !== before[0] || one.scrollTop !== before[1];
    };
    while (element && !moves(element)) element = number ? element.parentElement : null;
    if (!element) return "end";
    await frame();
    return "moved";
  };
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const turn = () => new Promise((done) => { const channel = new MessageChannel(); channel.port1.onmessage = done; channel.port2.postMessage(0); });
  globalThis.sparring = {
    look, forget, title: () => brief(document.title, 80), locate, enter, choose, scroll, awaitKey, paste, frame: () => frame().then(() => 1), turn: () => turn().then(() => 1),
  };
})();
