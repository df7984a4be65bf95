// A list of any length of which only what is seen exists: rows of one height in a box that scrolls.

export class VirtualList {
  #first = 0;
  #rows = [];
  #count = 0;

  // make() returns an element for a row, fill(element, index) shows that row in it; elements are used again
  constructor(box, height, make, fill) {
    this.box = box;
    this.height = height;
    this.make = make;
    this.fill = fill;
    this.room = document.createElement("div");
    this.room.className = "room";
    this.room.setAttribute("role", "presentation");
    box.append(this.room);
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(box);
  }

  get count() {
    return this.#count;
  }

  show(count) {
    if (count !== this.#count) {
      this.#count = count;
      this.room.style.height = `${count * this.height}px`;
    }
    this.draw();
  }

  draw() {
    const seen = Math.ceil((this.box.clientHeight || 0) / this.height) + 2;
    this.#first = Math.max(0, Math.min(Math.floor(this.box.scrollTop / this.height) - 1, this.#count - seen));
    const wanted = Math.min(seen + 1, this.#count - this.#first);
    while (this.#rows.length < wanted) {
      const row = this.make();
      row.classList.add("virtual");
      this.#rows.push(row);
      this.room.append(row);
    }
    while (this.#rows.length > wanted) this.#rows.pop().remove();
    // a row keeps its element while it is seen, and with it the focus
    for (let index = this.#first; index < this.#first + wanted; index += 1) {
      const row = this.#rows[index % wanted];
      const top = `translateY(${index * this.height}px)`;
      if (row.style.transform !== top) row.style.transform = top;
      this.fill(row, index);
    }
  }

  // the element of a row, scrolled into sight
  reveal(index) {
    const top = index * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.height > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + this.height - this.box.clientHeight;
    this.draw();
    return this.#rows[index % this.#rows.length];
  }

  get page() {
    return Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
  }
}
