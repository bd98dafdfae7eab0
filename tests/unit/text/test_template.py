"""Chat templates: as transformers renders them, and within limits whoever wrote them."""

import json
import warnings
from itertools import product
from pathlib import Path

import pytest

from trifold.errors import ModelFileError
from trifold.text import Tokenizer, train_tokenizer
from trifold.text.sandbox import SECONDS
from trifold.text.template import DEFAULT, NAMED, ChatTemplate

FILES = sorted(Path(__file__).with_name("chat_templates").glob("*.jinja"))
TEMPLATES = {path.stem: path.read_text(encoding="utf-8") for path in FILES}
"""Of the constructs that published models use, written anew and small."""

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
CONVERSATIONS = (
    [{"role": "user", "content": "hello"}],
    [{"role": "user", "content": " What\nis it? "}, {"role": "assistant", "content": "\nA cup. "}],
    [{"role": "system", "content": "Answer in one word"}, {"role": "user", "content": "杯子是什么颜色？"},
     {"role": "assistant", "content": "粉色"}, {"role": "user", "content": "And <the> 'boat' & \"car\"?"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>b</think>c"}] * 3,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["hello cup boat 杯子"] * 3, kind="byte_bpe", vocab_size=300)


@pytest.fixture(scope="module")
def theirs(tokenizer, tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", [*TEMPLATES, *NAMED])
def test_a_template_writes_what_transformers_writes(tokenizer, theirs, name):
    source = TEMPLATES.get(name) or NAMED[name]
    tokens = {f"{role}_token": text for role, text in tokenizer.roles.items()}
    template = ChatTemplate(source, tokens)
    for messages, answer in product(CONVERSATIONS, (False, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = theirs.apply_chat_template(
                messages, chat_template=source, tokenize=False, add_generation_prompt=answer
            )
        assert template.render(messages, answer=answer) == wanted


def test_what_a_template_refuses_is_said_in_its_own_words():
    template = ChatTemplate("{{ raise_exception('System role not supported') }}", TOKENS)
    with pytest.raises(ModelFileError, match="System role not supported"):
        template.render(CONVERSATIONS[0])
    good, bad = ChatTemplate(TEMPLATES["sys_in_first_turn"], TOKENS).render_many(
        [CONVERSATIONS[0], CONVERSATIONS[0] * 2]
    )
    assert good.text == "<s>[INST] hello [/INST]" and not good.problem and "alternate" in bad.problem


HOSTILE = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__mro__'] }}",
    "{{ ''|attr('__class__')|attr('__mro__') }}",
    "{{ ().__class__.__bases__[0].__subclasses__()[0] }}",
    "{{ messages.__class__.__init__.__globals__ }}",
    "{{ messages[0].__getitem__.__self__.__class__.__name__.x }}",
    "{{ cycler.__init__.__globals__.os.popen('touch MARK').read() }}",
    "{{ joiner.__init__.__globals__.os.popen('touch MARK').read() }}",
    "{{ namespace.__init__.__globals__.os.popen('touch MARK').read() }}",
    "{{ lipsum.__globals__['os'].system('touch MARK') }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch MARK') }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.system('touch MARK') }}",
    "{{ raise_exception.__globals__['sys'].modules['os'].system('touch MARK') }}",
    "{{ strftime_now.__globals__.__builtins__.open('MARK', 'w') }}",
    "{{ dict.__globals__.__builtins__.open('MARK', 'w') }}",
    "{{ (messages|map(attribute='__class__.__mro__')|list)[0].x.y }}",
    "{{ '{0.__class__.__mro__}'.format(messages).x.y }}",
    "{{ '{0.__class__.__init__.__globals__}'.format_map({'0': 1}).x.y }}",
    "{{ ('%c' * 9 % (95,95,99,108,97,115,115,95,95)).x.y }}",
    "{% set ns = namespace(__class__='x') %}{{ ns }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 'x' %}{{ ns }}",
    "{% set x = messages.append({'role': 'user'}) %}{{ x }}",
    "{% set x = messages[0].update({'role': 'x'}) %}{{ x }}",
    "{{ config.items() }}{{ request.application.__globals__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('touch MARK') }}",
    "{% from 'x' import y %}",
    "{% extends '/etc/passwd' %}",
    "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    "{% for i in range(10**9) %}{{ i }}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ 'a' | center(10**9) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ 9 ** (9 ** (9 ** 9)) }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{% set x = ['a' * 9999] * 9999 %}{{ x | join | length }}{{ (x | join * 99) | length }}{{ y.z }}",
    "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
    "{% if %}",
)


@pytest.mark.parametrize("source", HOSTILE, ids=range(len(HOSTILE)))
def test_d7_a_hostile_template_is_refused_and_does_nothing(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    template = ChatTemplate(source.replace("MARK", str(tmp_path / "mark")), TOKENS)
    (found,) = template.render_many([CONVERSATIONS[0]])
    assert not found.text and (found.problem or "attr(" in source)  # an attribute that nobody gets is empty
    assert not list(tmp_path.iterdir())
    assert SECONDS <= 0.5  # of processor time: a process that computes longer is ended by its own timer


def test_after_a_hostile_conversation_the_next_are_rendered():
    loops = "{% for i in range(messages[0].content | int) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    source = loops + "{{ messages[0].content }}"
    template = ChatTemplate(source, TOKENS)
    found = template.render_many([[{"role": "user", "content": text}] for text in ("1", "99999", "2")])
    assert [one.text for one in found] == ["1", "", "2"] and found[1].problem


@pytest.mark.parametrize("kind", ["string", "named", "file"])
def test_the_template_of_a_folder_is_read_and_kept(tokenizer, tmp_path, kind):
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": DEFAULT}]
    given = {"string": DEFAULT, "named": named, "file": "no"}[kind]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": given}))
    if kind == "file":
        (tmp_path / "chat_template.jinja").write_text(DEFAULT, encoding="utf-8")
    found = Tokenizer.from_pretrained(tmp_path)
    assert found.chat_template == DEFAULT
    found.save_pretrained(tmp_path / "again")
    assert Tokenizer.from_pretrained(tmp_path / "again").chat_template == DEFAULT
