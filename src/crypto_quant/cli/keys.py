"""What was typed on a terminal: bytes in, names of keys out."""

UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END, TAB = "up", "down", "page up", "page down", "home", "end", "tab"
_ESCAPE = 0x1B
# after ESC [ or ESC O; terminals differ
_SEQUENCES = {
    b"A": UP, b"B": DOWN, b"H": HOME, b"F": END, b"1~": HOME, b"7~": HOME, b"4~": END, b"8~": END,
    b"5~": PAGE_UP, b"6~": PAGE_DOWN,
}  # fmt: skip
_PLAIN = {"\t": TAB, " ": "space", "k": UP, "j": DOWN, "g": HOME, "G": END, "\x06": PAGE_DOWN, "\x02": PAGE_UP}
_LONGEST = 16


class Keys:
    """A terminal's input; a key that comes in two reads is one key."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that these bytes complete: names as ``up``, or the character; what is unknown is none."""
        data, self._begun = self._begun + data, b""
        found: list[str] = []
        while data:
            if data[0] != _ESCAPE:
                text = data[:1].decode("ascii", "ignore")
                found += [_PLAIN.get(text, text)] * bool(text)
                data = data[1:]
            elif len(data) < 3 and data[1:] in (b"", b"[", b"O"):
                self._begun = data
                break
            elif data[1:2] not in (b"[", b"O"):
                data = data[1:]  # the key Esc, or Alt with another
            else:
                ends = next((at for at in range(2, len(data)) if 0x40 <= data[at] <= 0x7E), None)
                if ends is None:
                    # one that does not end is none
                    self._begun = data if len(data) < _LONGEST else b""
                    break
                sequence = data[2 : ends + 1]
                if sequence in _SEQUENCES:
                    found.append(_SEQUENCES[sequence])
                data = data[ends + 1 :]
        return found
