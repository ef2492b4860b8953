"""How settings of studies are spelled as options: one style in all studies, old names accepted.

An option is its setting's name in lower case with hyphens; one that takes several values is in the
plural; and what is the same in two studies is called the same. Where a setting is called otherwise
in Python and in files, as the first scripts called it, its option is here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# By the name of the setting.
SPELLED = {
    "T": "steps",
    "batch_norm": "batch_norms",
    "estimator": "estimators",
    "init": "inits",
    "input": "inputs",
    "loss": "losses",
    "reg_type": "reg_types",
    "reward": "rewards",
    "surrogate": "surrogates",
}


def option_of(setting: str, several: bool) -> str:
    """The option of a setting, which takes one value or several."""
    name = SPELLED.get(setting, setting) if several or setting == "T" else setting
    return f"--{name.replace('_', '-')}"


def as_settings(words: Sequence[str], settings: Mapping[str, bool]) -> list[str]:
    """The words with every option as the setting is called that it is of.

    ``settings`` says of each whether it takes several values. An option of such a one may be in the
    other number, as ``--scheme`` for ``--schemes``.
    """
    return [_as_setting(word, settings) for word in words]


def as_typed(message: str, words: Sequence[str], settings: Mapping[str, bool]) -> str:
    """A complaint about settings, with the options of the words as they are there."""
    for option in (word.partition("=")[0] for word in words):
        setting = _as_setting(option, settings)
        if setting != option:
            message = re.sub(rf"(?<![\w-]){setting}(?![\w-])", option, message)
            name = setting[2:].replace("-", "_")
            message = re.sub(rf"^{name}(?=:)", option[2:].replace("-", "_"), message)
    return message


def _as_setting(word: str, settings: Mapping[str, bool]) -> str:
    if not word.startswith("--"):
        return word
    option, equals, value = word.partition("=")
    name = option[2:].replace("-", "_")
    if name in settings:
        return word
    old = [setting for setting, new in SPELLED.items() if new == name and setting in settings]
    near = [one for one in (f"{name}s", name.removesuffix("s")) if settings.get(one)]
    found = next(iter([*old, *near]), None)
    return word if found is None else f"--{found.replace('_', '-')}{equals}{value}"
