"use strict";

// The search: all words have to occur in a section, in its heading or in the title of its page. The index is fetched when
// somebody begins to search.
(() => {
  const script = document.currentScript;
  const form = document.querySelector("form.search");
  const field = form.querySelector("input");
  const results = form.querySelector(".results");
  const most = 20;
  const around = 60;

  let loading;
  function load() {
    loading ??= new Promise((resolve, reject) => {
      const tag = document.createElement("script");
      tag.src = new URL(script.dataset.index, script.src);
      tag.onload = () => resolve(window.searchIndex.map((section) => ({
        ...section,
        where: (section.page + " " + section.heading).toLowerCase(),
        what: section.text.toLowerCase(),
      })));
      tag.onerror = () => {
        loading = undefined;
        reject(new Error("the search index cannot be read"));
      };
      document.head.append(tag);
    });
    return loading;
  }

  function count(text, word) {
    let found = 0;
    for (let at = text.indexOf(word); at >= 0 && found < 5; at = text.indexOf(word, at + word.length)) {
      found++;
    }
    return found;
  }

  // 0 if a word is missing. Headings say what a section is about, and a page's beginning comes before its sections.
  function score(section, words) {
    let sum = section.heading ? 0 : 5;
    for (const word of words) {
      const of = 10 * count(section.where, word) + count(section.what, word);
      if (of === 0) {
        return 0;
      }
      sum += of;
    }
    return sum;
  }

  function element(name, ...children) {
    const made = document.createElement(name);
    made.append(...children);
    return made;
  }

  // The surroundings of the first word that is found, with all words marked.
  function excerpt(section, words) {
    const at = Math.max(0, Math.min(...words.map((word) => section.what.indexOf(word)).filter((place) => place >= 0), section.what.length));
    const from = at === section.what.length ? 0 : Math.max(0, at - around);
    const text = section.text.slice(from, from + 3 * around);
    const shown = element("span", from > 0 ? "…" : "");
    const pattern = new RegExp("(" + words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|") + ")", "i");
    text.split(pattern).forEach((piece, i) => shown.append(i % 2 ? element("mark", piece) : piece));
    return shown;
  }

  function link(section, words) {
    const to = element("a", element("b", section.page + (section.heading ? " › " + section.heading : "")), excerpt(section, words));
    to.href = new URL(section.url, script.src);
    return to;
  }

  async function search() {
    const query = field.value.trim().toLowerCase();
    if (query.length < 2) {
      results.hidden = true;
      return;
    }
    const words = query.split(/\s+/);
    let answer;
    try {
      const found = (await load())
        .map((section) => ({ section, score: score(section, words) }))
        .filter((each) => each.score > 0)
        .sort((a, b) => b.score - a.score)
        .slice(0, most);
      answer = found.map((each) => link(each.section, words));
    } catch (failure) {
      answer = [element("p", failure.message)];
    }
    if (query !== field.value.trim().toLowerCase()) {
      return; // something else was asked for meanwhile
    }
    results.replaceChildren(...(answer.length ? answer : [element("p", "Nothing was found.")]));
    results.hidden = false;
  }

  function move(by) {
    const links = [...results.querySelectorAll("a")];
    const to = links.indexOf(document.activeElement) + by;
    (links[to] ?? (to < 0 ? field : links.at(-1)))?.focus();
  }

  field.addEventListener("focus", () => load().catch(() => {}), { once: true });
  field.addEventListener("input", search);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    results.querySelector("a")?.click();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      results.hidden = true;
      field.focus();
    } else if (!results.hidden && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && document.activeElement !== field) {
      event.preventDefault();
      field.focus();
    }
  });
  document.addEventListener("click", (event) => {
    if (!form.contains(event.target) || event.target.closest(".results a")) {
      results.hidden = true;
    }
  });
  form.hidden = false;

  // The list of pages is longer than a screen.
  const pages = document.querySelector("nav.pages");
  const current = pages.querySelector("[aria-current]");
  if (current) {
    pages.scrollTop = current.offsetTop - pages.clientHeight / 2;
  }
})();
