"""The words of the two pages on interoperability."""

from collections.abc import Mapping, Sequence

__all__ = ["HEADS", "PROSE", "REASONS", "WHATS"]

HEADS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "en": {
        "fields": ("family", "opened equal", "refused by name", "different", "crashed", "transformers cannot itself"),
        "total": ("**all**",),
        "tools": ("tool: what is compared", "family", "opens", "same answers", "greatest difference", "why not"),
        "opens": ("yes", "no"),
    },
    "zh": {
        "fields": ("家族", "打开且相等", "点名拒绝", "不同", "崩溃", "transformers 自己也不能"),
        "total": ("**合计**",),
        "tools": ("工具：比较什么", "家族", "能打开", "答案相同", "最大差", "原因"),
        "opens": ("能", "不能"),
    },
}
WHATS: Mapping[str, Mapping[str, str]] = {
    "labels": {"en": "labels and probabilities of texts", "zh": "文本的标签与概率"},
    "entities": {"en": "entities of English sentences", "zh": "英文句子里的实体"},
    "characters": {"en": "entities of Chinese sentences, by character", "zh": "中文句子里的实体（按字）"},
    "bytes": {"en": "entities of English sentences, tokens of bytes", "zh": "英文句子里的实体（字节分词器）"},
    "spans": {"en": "answers in contexts", "zh": "上下文中的答案"},
    "greedy": {"en": "translations, greedy", "zh": "译文，贪心"},
    "beams": {"en": "translations, 5 beams", "zh": "译文，束宽 5"},
    "texts": {"en": "continuations, greedy", "zh": "续写，贪心"},
    "chat": {"en": "answers in a conversation, greedy", "zh": "对话中的回答，贪心"},
    "tokens": {"en": "likeliest token and its probability", "zh": "最可能的词元及其概率"},
    "ids": {"en": "ids of texts and of pairs", "zh": "单个文本与文本对的编号"},
    "vectors": {"en": "vectors within 1e-4", "zh": "向量之差不超过 1e-4"},
}
REASONS: Mapping[str, Mapping[str, str]] = {
    "ctranslate2 beams t5_v1_1": {
        "en": "under transformers 5 its converter scales the logits of every T5 v1.1, Google's too, as those of v1.0, "
        "which beams feel; without that it is 100",
        "zh": "在 transformers 5 下，它的转换器把所有 T5 v1.1（包括 Google 的）的 logits 当作 v1.0 来缩放；"
        "束搜索的结果随之改变；不缩放则为 100",
    },
    "ctranslate2 beams mt5": {
        "en": "under transformers 5 its converter scales the logits as those of T5 v1.0, which beams feel; "
        "without that it is 100",
        "zh": "在 transformers 5 下，它的转换器按 T5 v1.0 缩放 logits；束搜索的结果随之改变；不缩放则为 100",
    },
    "ctranslate2 beams umt5": {
        "en": "under transformers 5 its converter scales the logits as those of T5 v1.0, which beams feel; "
        "without that it is 100",
        "zh": "在 transformers 5 下，它的转换器按 T5 v1.0 缩放 logits；束搜索的结果随之改变；不缩放则为 100",
    },
    "ctranslate2 beams mbart": {
        "en": "it wants the start token as a prefix from whoever calls it; why beams then end otherwise is not known",
        "zh": "它要求调用者以前缀给出起始词元；束搜索的结果为何随之不同，原因未明",
    },
    "ctranslate2 beams t5": {
        "en": "one or two sentences end otherwise in its search; why is not known",
        "zh": "有一两句在它的搜索中结果不同，原因未明",
    },
    'pipeline("token-classification") bytes': {
        "en": "transformers takes a token that is only a space for a word of its own; taggers train a WordPiece "
        "tokenizer unless told otherwise, and a run with this one says so at its start",
        "zh": "transformers 把只含空格的词元当作单独的词；标注模型默认训练 WordPiece 分词器，"
        "用字节分词器的训练在开始时会说明",
    },
    'pipeline("token-classification") entities gpt2': {
        "en": "a decoder labels a word at its last token, transformers' pipeline reads the first",
        "zh": "解码器在词的最后一个词元上标注，transformers 的 pipeline 读第一个",
    },
}
"""By a part of `way tool what family`; said only where not all is the same."""
PROSE: Mapping[str, str] = {
    "en": """# Interoperability

What Trifold trained, other tools open; what others trained, Trifold opens, or refuses by name. This page is written by a
command, with numbers measured on {date}, on {machine}; {versions}:

```console
$ {command}
```

## Models in: each field of the configuration

Every field of transformers' configuration classes is changed, one at a time: booleans turned, numbers halved and doubled,
activations, kinds of rotary positions, kinds of layers. Either the logits are those of transformers within 1e-4, or the
folder is refused and the message names the field. A column counts the cases in which transformers itself cannot build the
model.

{fields}

Refused by name: rotary positions of the kinds dynamic, yarn, longrope and proportional, `partial_rotary_factor`, BERT and
GPT-2 with cross-attention or BERT as a decoder, relative positions of BERT, soft limits of Gemma, Marian with
embeddings of its own for each side, quantized weights, and code that comes with a model (`auto_map`).

## Models out

Small models are trained by Trifold on generated texts, in English, Chinese and both, and opened by the tool as they are,
with no step in between. Taggers train a WordPiece tokenizer unless told otherwise; the pipeline joins words by
`aggregation_strategy="first"`, Chinese characters by `"simple"`. CTranslate2 searches as it does by itself:
like a translation run (`task.early_stopping`), it is done when as many translations as beams have ended.

{out}

Settings that no other tool can express are off unless you ask for them: `task.match`, a `task.pooling` that is not the
family's (the mean on BERT), and `task.ngrams` but for classification and regression from random weights, where it is on and
`task.ngrams=0` makes the run portable. Nor can they express classification, tagging and span answers on `vaswani`. A run
with one of these says so at its start, `trifold.json` holds `"portable": false` with the reasons, and `trifold convert`
refuses by name rather than drop a head.

Multiple choice: runs on `bert`, `roberta`, `xlm-roberta`, `distilbert`, `electra`, `albert` and `modernbert` are folders of
`...ForMultipleChoice`, which `AutoModelForMultipleChoice` opens with the same scores within 1e-5. transformers has neither
such a class for the other families nor a pipeline for the task: on the others a run is not portable, its head stands in
`extra.safetensors`, and only Trifold opens it.

Adapters: a run with `--lora` is saved with its adapters merged, so every tool above opens it; `lora.keep=adapter` keeps the
adapter as a folder of peft too.

## Models of others, opened by Trifold

Folders that transformers writes, with random weights and a tokenizer that the `tokenizers` library trained; `trifold` reads
them as they are (`trifold classify`, `ask`, `generate`, and `finetune --model FOLDER`).

{in}

Folders of `...ForMultipleChoice`, of the families named above, open as models that choose (`trifold classify`), with the
same scores within 1e-5, and are written back with the same weights. Of ELECTRA's, those with another `summary_type`,
`summary_use_proj` or `summary_activation` than the usual are refused by name.

A folder of a body without a head opens as a model to train from. One of sentence-transformers embeds as it is
(`trifold index build --embedder FOLDER`), with its pooling (`cls`, `mean`, `lasttoken`), prompts and length; further
modules, such as Dense, are refused by name. Marian's folders with `source.spm` and `target.spm` open too; their
translations are not counted here yet.

## Converting

`trifold convert FOLDER --out OTHER` writes a run, an older checkpoint or a folder of Hugging Face as a folder of its
family's class, compares what it wrote with what it read, and lists what it left out. `trifold doctor FOLDER` compares a
folder with transformers reading that folder.
""",
    "zh": """# 互通

Trifold 训练的模型，别的工具能打开；别人训练的模型，Trifold 要么打开，要么点名拒绝。本页由命令写成，数字测于 {date}，
处理器 {machine}；{versions}：

```console
$ {command}
```

## 读入模型：配置的每个字段

逐个改动 transformers 配置类的每个字段：布尔值取反，数字减半与加倍，激活函数、旋转位置的种类、层的种类逐一更换。
要么 logits 与 transformers 之差不超过 1e-4，要么拒绝打开并指出字段。最后一列是 transformers 自己也建不出模型的情形。

{fields}

点名拒绝的有：dynamic、yarn、longrope、proportional 四种旋转位置，`partial_rotary_factor`，带交叉注意力的 BERT 与 GPT-2、
作解码器的 BERT，BERT 的相对位置，Gemma 的软上限，两侧各有嵌入的 Marian，量化的权重，以及随模型附带的代码（`auto_map`）。

## 交出模型

Trifold 在生成的英文、中文与混合文本上训练小模型，工具直接打开，中间没有任何步骤。标注模型默认训练 WordPiece 分词器；
pipeline 用 `aggregation_strategy="first"` 合并单词，用 `"simple"` 合并汉字。CTranslate2 按其默认方式搜索：
与翻译训练的模型一样（`task.early_stopping`），完整译文的数目达到束宽时即停止。

{out}

别的工具无法表达的设置默认关闭，除非您要求：`task.ngrams`（分类与回归从随机权重开始时默认启用，
`task.ngrams=0` 使运行可移植）、`task.match`、与家族不同的 `task.pooling`（BERT 用平均），
以及 `vaswani` 上的分类、标注与片段问答。用了其中之一的训练在开始时就会说明，`trifold.json` 写有
`"portable": false` 与原因，`trifold convert` 点名拒绝，而不会丢掉任务头。

选择题（`multiple_choice`）：在 `bert`、`roberta`、`xlm-roberta`、`distilbert`、`electra`、`albert`、`modernbert` 上
训练的结果就是 `...ForMultipleChoice` 类的文件夹，`AutoModelForMultipleChoice` 可直接打开，分数之差不超过 1e-5。
其他家族在 transformers 中没有这样的类，这项任务也没有 pipeline；在其他家族上，训练结果不可移植，任务头存于
`extra.safetensors`，只有 Trifold 能打开。

适配器：`--lora` 的训练在保存时合并适配器，因此上面的工具都能打开；`lora.keep=adapter` 还把适配器另存为 peft 的文件夹。

## 读入别人的模型

transformers 写出的文件夹，权重随机，分词器由 `tokenizers` 库训练；`trifold` 直接读取
（`trifold classify`、`ask`、`generate`，以及 `finetune --model FOLDER`）。

{in}

上述家族的 `...ForMultipleChoice` 文件夹可作为选择题模型打开（`trifold classify`），分数之差不超过 1e-5，写回时权重不变。
ELECTRA 的 `summary_type`、`summary_use_proj`、`summary_activation` 若不是默认值，则点名拒绝。

没有任务头的主体可以作为继续训练的起点。sentence-transformers 的文件夹可直接用于嵌入
（`trifold index build --embedder 文件夹`），沿用其池化方式（`cls`、`mean`、`lasttoken`）、提示与长度；Dense 等
其他模块点名拒绝。带 `source.spm` 与 `target.spm` 的 Marian 文件夹也能打开，其译文这里尚未统计。

## 转换

`trifold convert FOLDER --out OTHER` 把训练结果、较早的检查点或 Hugging Face 文件夹写成该家族的类的文件夹，把写出的与读入的
相比较，并列出略去了什么。`trifold doctor FOLDER` 把一个文件夹与 transformers 读取该文件夹的结果相比较。
""",
}
