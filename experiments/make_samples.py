"""Makes the small corpora of `src/trifold/samples` from the phrases below, which were written for this project.

python experiments/make_samples.py

They are toys with a grammar: enough to show in a minute that a task is learned, no measure of anything.
"""

import json
import random
from pathlib import Path

OUT = Path(__file__).parents[1] / "src" / "trifold" / "samples"

PLACES = [("the hotel", "酒店"), ("the room", "房间"), ("the soup", "汤"), ("the film", "电影"), ("the book", "书"),
          ("the music", "音乐"), ("the garden", "花园"), ("the phone", "手机"), ("the service", "服务"),
          ("the train", "火车")]  # fmt: skip
GOOD = [("clean and quiet", "干净又安静"), ("a real pleasure", "让人很愉快"), ("better than I had hoped", "比我期待的还好"),
        ("worth every penny", "物有所值"), ("warm and friendly", "温暖又亲切"), ("beautifully made", "做得很漂亮"),
        ("exactly right", "恰到好处"), ("a joy from start to end", "从头到尾都令人喜欢")]  # fmt: skip
BAD = [("dirty and loud", "又脏又吵"), ("a waste of money", "浪费钱"), ("worse than I had feared", "比我担心的还差"),
       ("broken after a day", "一天就坏了"), ("cold and rude", "冷漠又无礼"), ("poorly made", "做工很差"),
       ("not what was promised", "和承诺的不一样"), ("dull from start to end", "从头到尾都很无聊")]  # fmt: skip
AFTER_GOOD = [("We will come again.", "我们还会再来。"), ("I told all my friends.", "我推荐给了所有朋友。"), ("", "")]
AFTER_BAD = [("Never again.", "再也不来了。"), ("I asked for my money back.", "我要求退款。"), ("", "")]

TOPICS = {
    "sport": (["the striker scored twice", "the runner broke the record", "the coach praised the goalkeeper",
               "the final goes to extra time", "the swimmer won the medal"],
              ["前锋连进两球", "选手打破了纪录", "教练称赞了守门员", "决赛进入加时", "泳将夺得奖牌"]),
    "weather": (["heavy rain floods the valley", "snow is expected tonight", "a warm wind comes from the south",
                 "the storm closes the harbour", "fog delays the morning"],
                ["大雨淹没了山谷", "预计今晚有雪", "南方吹来暖风", "风暴关闭了港口", "大雾笼罩了清晨"]),
    "economy": (["the bank raises its rates", "prices of wheat fall again", "the factory hires more workers",
                 "the market closes higher", "exports grow for a third month"],
                ["银行上调利率", "小麦价格再次下跌", "工厂招聘更多工人", "股市收高", "出口连续三个月增长"]),
    "science": (["the telescope finds a new planet", "researchers map the deep sea", "a vaccine passes its first trial",
                 "the probe sends its first pictures", "bees remember faces, a study shows"],
                ["望远镜发现新的行星", "研究人员绘制深海地图", "疫苗通过首次试验", "探测器传回第一批照片",
                 "研究显示蜜蜂能记住面孔"]),
}  # fmt: skip
WHEN = [("On Monday", "周一"), ("This morning", "今天早上"), ("Last week", "上周"), ("In spring", "春天里")]
WHERE = [("in the north", "在北方"), ("near the coast", "在海边"), ("in the capital", "在首都"), ("abroad", "在国外")]

WHO = [("the teacher", "老师"), ("my sister", "我的妹妹"), ("the old man", "老人"), ("a child", "一个孩子"),
       ("our neighbour", "我们的邻居"), ("the doctor", "医生")]  # fmt: skip
DOES = [("reads", "读"), ("buys", "买"), ("sees", "看见"), ("finds", "找到"), ("likes", "喜欢"), ("draws", "画")]
WHAT = [("a red book", "一本红色的书"), ("the small dog", "那只小狗"), ("two apples", "两个苹果"),
        ("a new house", "一座新房子"), ("the white horse", "那匹白马"), ("three letters", "三封信"),
        ("the map", "那张地图")]  # fmt: skip

NUMBERS = {
    "one": "一",
    "two": "二",
    "three": "三",
    "four": "四",
    "five": "五",
    "six": "六",
    "seven": "七",
    "eight": "八",
}
OPPOSITES = [("hot", "cold"), ("big", "small"), ("old", "new"), ("fast", "slow"), ("light", "dark"), ("near", "far"),
             ("大", "小"), ("长", "短"), ("高", "低"), ("新", "旧"), ("快", "慢"), ("远", "近")]  # fmt: skip


def sentence(text: str, chinese: bool) -> str:
    """With a capital and a full stop."""
    return f"{text}。" if chinese else f"{text[0].upper()}{text[1:]}."


def sentiment(dice: random.Random) -> list[tuple[str, str]]:
    """Short reviews."""
    rows = set()
    while len(rows) < 360:
        positive, tongue = dice.random() < 0.5, dice.randrange(2)
        place, what = dice.choice(PLACES)[tongue], dice.choice(GOOD if positive else BAD)[tongue]
        more = dice.choice(AFTER_GOOD if positive else AFTER_BAD)[tongue]
        body = f"{place}{what}" if tongue else f"{place} was {what}"
        joint = "" if tongue else " "
        text = f"{sentence(body, bool(tongue))}{joint}{more}".strip()
        rows.add(("positive" if positive else "negative", text))
    return sorted(rows, key=lambda _: dice.random())


def topics(dice: random.Random) -> list[tuple[str, str]]:
    """Headlines."""
    rows = set()
    while len(rows) < 320:
        topic, tongue = dice.choice(sorted(TOPICS)), dice.randrange(2)
        when, where = dice.choice(WHEN)[tongue], dice.choice(WHERE)[tongue]
        what = dice.choice(TOPICS[topic][tongue])
        rows.add((topic, f"{when}{where}{what}。" if tongue else f"{when} {where} {what}."))
    return sorted(rows, key=lambda _: dice.random())


def translation(dice: random.Random) -> list[tuple[str, str]]:
    """Sentences in both languages."""
    pairs = [(f"{who[0].capitalize()} {does[0]} {what[0]}.", f"{who[1]}{does[1]}{what[1]}。")
             for who in WHO for does in DOES for what in WHAT]  # fmt: skip
    dice.shuffle(pairs)
    return pairs


def instructions(dice: random.Random) -> list[dict[str, str]]:
    """Small orders with one right answer."""
    rows = []
    for word, other in OPPOSITES + [(b, a) for a, b in OPPOSITES]:
        ask = f"“{word}”的反义词是什么？" if word >= "\u4e00" else f"What is the opposite of {word}?"
        rows.append({"instruction": ask, "input": "", "output": other})
    for english, chinese in NUMBERS.items():
        rows.append({"instruction": "Write this number in Chinese.", "input": english, "output": chinese})
        rows.append({"instruction": "用英语写出这个数字。", "input": chinese, "output": english})
    for who in WHO:
        for does in DOES:
            what = dice.choice(WHAT)
            rows.append(
                {
                    "instruction": "Who does it?",
                    "input": f"{who[0].capitalize()} {does[0]} {what[0]}.",
                    "output": who[0],
                }
            )
            rows.append({"instruction": "是谁做的？", "input": f"{who[1]}{does[1]}{what[1]}。", "output": who[1]})
            rows.append({"instruction": "What is it about?", "input": f"{who[0].capitalize()} {does[0]} {what[0]}.",
                         "output": what[0]})  # fmt: skip
    dice.shuffle(rows)
    return rows


def table(name: str, header: str, rows: list[tuple[str, str]]) -> None:
    """Write a table."""
    text = "\n".join([header, *("\t".join(row) for row in rows)]) + "\n"
    (OUT / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write all files."""
    dice = random.Random(0)
    OUT.mkdir(parents=True, exist_ok=True)
    table("sentiment.tsv", "label\ttext", sentiment(dice))
    table("topics.tsv", "label\ttext", topics(dice))
    table("translation.tsv", "en\tzh", translation(dice))
    lines = [json.dumps(row, ensure_ascii=False) for row in instructions(dice)]
    (OUT / "instructions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
