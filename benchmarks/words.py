"""What the pages say, in English and Chinese. The names of sides, options and settings are the same in both."""

from benchmarks.work import Benchmark

__all__ = ["say", "title"]

CHINESE = {
    "side": "参与者",
    "tokens/s": "词元/秒",
    "texts/s": "文本/秒",
    "runs/s": "次/秒",
    "Trifold / side": "Trifold / 该者",
    "peak memory": "内存峰值",
    "peak memory (GiB)": "内存峰值（GiB）",
    "of the machine's limit": "占机器极限",
    "setting": "设置",
    "loss": "损失",
    "accuracy": "准确率",
    "BLEU": "BLEU",
    "equal to alone": "与单条解码相同",
    "context (tokens)": "上下文（词元）",
    "rows in a step": "每步行数",
    "million parameters": "参数（百万）",
    "threads": "线程数",
    "MB of text": "文本（MB）",
}


def say(words: str, language: str) -> str:
    """These words in a language.

    Example:
        >>> say("loss", "en"), say("loss", "zh")
        ('loss', '损失')
    """
    return CHINESE[words] if language == "zh" else words


def title(benchmark: Benchmark, language: str) -> str:
    """What a benchmark does, as a sentence."""
    return f"{benchmark.title_zh}。" if language == "zh" else f"{benchmark.title[:1].upper()}{benchmark.title[1:]}."
