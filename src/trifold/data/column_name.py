"""What columns are called: in English or Chinese, and by the languages of what stands in them."""

from trifold.locale import language

__all__ = ["LANGUAGES", "plain_name", "usual_names"]

CHINESE = {
    "文本": "text", "句子": "sentence", "评论": "review", "评价": "review", "正文": "body", "内容": "content",
    "标题": "title", "主题": "subject", "描述": "description",
    "句子1": "sentence1", "句子2": "sentence2", "文本1": "text1", "文本2": "text2", "前提": "premise", "假设": "hypothesis",
    "标签": "label", "类别": "category", "分类": "category", "类型": "type", "情感": "sentiment", "意图": "intent",
    "分数": "score", "得分": "score", "评分": "rating", "星级": "stars", "相似度": "similarity",
    "问题": "question", "题目": "question", "提问": "question", "查询": "query", "答案": "answer", "回答": "response",
    "回复": "response", "上下文": "context", "段落": "passage", "文章": "article", "文档": "document", "摘要": "summary",
    "答案起点": "answer_start",
    "指令": "instruction", "提示": "prompt", "输入": "input", "输出": "output", "对话": "conversation", "消息": "messages",
    "历史": "history", "系统": "system",
    "选项": "options", "原文": "source", "译文": "translation", "源": "source", "目标": "target",
    "正例": "positive", "负例": "negative", "词语": "tokens", "词": "words", "字": "characters", "标注": "tags",
    "编号": "id", "序号": "id", "日期": "date", "时间": "time", "来源": "origin", "链接": "link", "网址": "url",
    "作者": "author", "实体": "entity", "主体": "subject", "关系": "relation", "属性": "attribute", "对象": "object",
    "值": "value",
    "用户": "user", "语言": "language",
}  # fmt: skip
"""The English name that a Chinese one stands for."""
SPOKEN = {
    "ar": ("arabic", "阿拉伯语", "阿拉伯文"),
    "cs": ("czech", "捷克语", "捷克文"),
    "de": ("german", "deutsch", "德语", "德文"),
    "en": ("english", "英语", "英文"),
    "es": ("spanish", "español", "西班牙语", "西班牙文"),
    "fr": ("french", "français", "法语", "法文"),
    "it": ("italian", "italiano", "意大利语", "意大利文"),
    "ja": ("japanese", "日语", "日文", "日本語"),
    "ko": ("korean", "韩语", "韩文", "한국어"),
    "nl": ("dutch", "nederlands", "荷兰语", "荷兰文"),
    "pl": ("polish", "polski", "波兰语", "波兰文"),
    "pt": ("portuguese", "português", "葡萄牙语", "葡萄牙文"),
    "ru": ("russian", "русский", "俄语", "俄文"),
    "tr": ("turkish", "土耳其语", "土耳其文"),
    "uk": ("ukrainian", "乌克兰语", "乌克兰文"),
    "vi": ("vietnamese", "越南语", "越南文"),
    "zh": ("chinese", "中文", "汉语", "中国语", "简体中文", "zh_cn", "cmn"),
}
LANGUAGES = frozenset(SPOKEN)
"""The codes of languages, which columns with texts in them are called by."""
MEANT = CHINESE | {name: code for code, names in SPOKEN.items() for name in names}


def plain_name(name: str) -> str:
    """A column's name without what people write it with: case, blanks around it, `-` or a space for `_`, and its language.

    Example:
        >>> plain_name(" Text-A"), plain_name("标签"), plain_name("English"), plain_name("问题 1")
        ('text_a', 'label', 'en', '问题_1')
    """
    plain = "_".join(name.strip().lower().replace("-", " ").split())
    return MEANT.get(plain, plain)


def usual_names(names: tuple[str, ...]) -> str:
    """Names of columns for a message, with those in the reader's language beside the English ones.

    Example:
        >>> usual_names(("label", "class"))
        'label, class'
    """
    own = [chinese for chinese, english in CHINESE.items() if english in names] if language() == "zh" else []
    return ", ".join([*own, *names])
