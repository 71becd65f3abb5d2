"""How many tokens the service makes of what a client sends: its tokenizer's, and those of the chat template around it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serviceoptd.predicting.data_set.chat_template import ChatTemplate, Message, chat_template
from serviceoptd.predicting.data_set.tokens import Counter, counter


@dataclass(frozen=True)
class Texts:
    """Counts texts as the client does for itself (`plain`), and as the service will (`sent`).

    `by_client`: the client puts the chat template around each prompt. `by_service`: the service does, being asked for a
    chat; then the tokenizer adds no special tokens, for the template has them.
    """

    counter: Counter
    template: ChatTemplate | None = None
    by_client: bool = False
    by_service: bool = False
    missing: str = ""  # why a template that is needed is not applied

    def plain(self, text: str) -> int:
        """Tokens of a text alone, with those that the tokenizer adds."""
        return self.counter.count(text)

    def sent(self, prompt: str | Sequence[Message]) -> int:
        """Tokens of a prompt, or of the messages of a chat, when the service has them."""
        if self.template is None:
            return self.plain(prompt if isinstance(prompt, str) else "".join(each["content"] for each in prompt))
        if self.by_client and isinstance(prompt, str):
            prompt = self.template.render([{"role": "user", "content": prompt}])
        if not self.by_service:
            return self.plain(prompt if isinstance(prompt, str) else self.template.render(prompt))
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        return self.counter.bare(self.template.render(messages))

    @property
    def how(self) -> str:
        """By what the tokens are counted, for people."""
        if self.missing:
            return f"{self.counter.how}, without those of the chat template: {self.missing}"
        return f"{self.counter.how}, with the chat template" if self.template else self.counter.how

    @property
    def identity(self) -> str:
        """What the counts depend on."""
        if self.template is None:
            return self.counter.identity
        both = f"{self.counter.identity} {self.template.identity} {self.by_client} {self.by_service}"
        return f"sha256:{hashlib.sha256(both.encode(errors='replace')).hexdigest()}"


def texts(directory: Path | None, *, by_client: bool = False, by_service: bool = False) -> Texts:
    """What counts with the tokenizer and the template in this directory; None: nobody said where they are."""
    counting = counter(directory)
    if not by_client and not by_service:
        return Texts(counting)
    found = chat_template(directory)
    if isinstance(found, str):
        return Texts(counting, missing=found)
    return Texts(counting, found, by_client, by_service)
