"""A corpus of 12 short documents with two questions each, in English and Korean, and one question without an answer."""

import json
from pathlib import Path

# title; sentences; (question, number of the sentence that answers it) twice
ENGLISH = (
    (
        "Annual leave",
        (
            "Every employee earns one day of paid leave for each full month.",
            "Unused leave lapses on 31 December.",
            "Requests go to the team leader.",
        ),
        (("By when must I use up my remaining leave?", 1), ("Who receives a request for leave?", 2)),
    ),
    (
        "Business trips",
        ("Flights shorter than six hours are booked in economy class.", "Receipts are handed in within ten days.", "Taxis need a reason."),
        (("Within how many days do I hand in receipts of a trip?", 1), ("In which class are short flights booked?", 0)),
    ),
    (
        "Badges",
        ("Visitors sign the register at the front desk.", "A lost badge is reported to security.", "Replacing it costs five euros."),
        (("Whom do I tell about a lost badge?", 1), ("Where do visitors sign in?", 0)),
    ),
    (
        "Laptops",
        (
            "Laptops are replaced every four years.",
            "The battery is exchanged below sixty percent of its capacity.",
            "Old devices are wiped first.",
        ),
        (("When is the battery of a laptop exchanged?", 1), ("How often are laptops replaced?", 0)),
    ),
    (
        "Washing machine",
        ("Clean the filter behind the lower flap once a month.", "Error E4 means that the door is not shut.", "Use no bleach in it."),
        (("What does error E4 mean?", 1), ("How often do I clean the filter behind the flap?", 0)),
    ),
    (
        "Refrigerator",
        ("Set the temperature to four degrees.", "Let warm food cool down before storing it.", "The water cartridge lasts for six months."),
        (("How long does the water cartridge last?", 2), ("Which temperature should be set for cold food?", 0)),
    ),
    (
        "Opening hours",
        ("The clinic opens at eight on weekdays.", "On Saturdays its doors open at nine.", "Appointments are cancelled by phone."),
        (("When does the clinic open on Saturdays?", 1), ("How can appointments be cancelled?", 2)),
    ),
    (
        "Blood tests",
        ("Come to a blood test without breakfast.", "Water and tea are allowed.", "Results are sent by post after two working days."),
        (("When are the results of a blood test sent?", 2), ("Am I allowed water and tea before the test?", 1)),
    ),
    (
        "Parcels",
        (
            "A parcel may weigh up to twenty kilograms.",
            "Fragile goods need double walled boxes.",
            "What nobody accepts stays at the depot for seven days.",
        ),
        (("How much may a parcel weigh?", 0), ("Which boxes do fragile goods need?", 1)),
    ),
    (
        "Canteen",
        ("Lunch is served from half past eleven.", "Vegetarian dishes carry a green leaf.", "Guests pay by card."),
        (("How do I recognise vegetarian dishes?", 1), ("How do guests of the canteen pay?", 2)),
    ),
    (
        "Garage",
        ("The gate opens with the staff badge.", "Electric cars charge on level two.", "Bicycles stand in the yard."),
        (("On which level do electric cars charge?", 1), ("Where do bicycles stand?", 2)),
    ),
    (
        "Fire",
        ("Leave by the stairs, never by the lift.", "The assembly point is the lawn behind building C.", "Wardens wear orange vests."),
        (("Where is the assembly point in case of fire?", 1), ("What do the wardens wear?", 2)),
    ),
)
KOREAN = (
    (
        "연차 휴가",
        ("직원은 한 달을 만근할 때마다 유급 휴가 하루를 받는다.", "쓰지 않은 휴가는 12월 31일에 소멸한다.", "휴가 신청은 팀장에게 한다."),
        (("남은 휴가는 언제 소멸하나요?", 1), ("휴가 신청은 누구에게 하나요?", 2)),
    ),
    (
        "출장",
        ("여섯 시간보다 짧은 비행은 일반석으로 예약한다.", "출장 영수증은 열흘 안에 제출한다.", "택시를 타면 사유를 적는다."),
        (("출장 영수증은 며칠 안에 제출하나요?", 1), ("짧은 비행은 어느 좌석으로 예약하나요?", 0)),
    ),
    (
        "출입증",
        ("방문객은 안내 데스크에서 명부에 서명한다.", "출입증을 잃어버리면 보안팀에 알린다.", "재발급 비용은 오천 원이다."),
        (("출입증을 잃어버리면 어디에 알리나요?", 1), ("방문객은 어디에서 서명하나요?", 0)),
    ),
    (
        "노트북",
        ("노트북은 사 년마다 교체한다.", "배터리 용량이 육십 퍼센트 아래면 배터리를 바꾼다.", "낡은 기기는 먼저 초기화한다."),
        (("노트북 배터리는 언제 바꾸나요?", 1), ("노트북은 몇 년마다 교체하나요?", 0)),
    ),
    (
        "세탁기",
        ("아래 덮개 뒤의 거름망은 한 달에 한 번 청소한다.", "E4 오류는 문이 닫히지 않았다는 뜻이다.", "표백제는 넣지 않는다."),
        (("E4 오류는 무슨 뜻인가요?", 1), ("거름망은 얼마나 자주 청소하나요?", 0)),
    ),
    (
        "냉장고",
        ("온도는 사 도로 맞춘다.", "따뜻한 음식은 식힌 다음에 넣는다.", "정수 필터는 여섯 달 동안 쓴다."),
        (("정수 필터는 얼마 동안 쓰나요?", 2), ("온도는 몇 도로 맞추나요?", 0)),
    ),
    (
        "진료 시간",
        ("병원은 평일에 여덟 시에 문을 연다.", "토요일에는 아홉 시에 시작한다.", "예약 취소는 전화로 한다."),
        (("병원은 토요일에 몇 시에 시작하나요?", 1), ("예약 취소는 어떻게 하나요?", 2)),
    ),
    (
        "혈액 검사",
        ("혈액 검사 날에는 아침을 먹지 않는다.", "물과 차는 마셔도 된다.", "검사 결과는 이틀 뒤에 우편으로 보낸다."),
        (("혈액 검사 결과는 언제 보내 주나요?", 2), ("검사 전에 물과 차를 마셔도 되나요?", 1)),
    ),
    (
        "소포",
        ("소포 무게는 이십 킬로그램까지 된다.", "깨지는 물건은 이중 상자에 넣는다.", "받는 사람이 없으면 창고에서 일주일 보관한다."),
        (("소포 무게는 얼마까지 되나요?", 0), ("깨지는 물건은 어떤 상자에 넣나요?", 1)),
    ),
    (
        "구내식당",
        ("점심은 열한 시 반부터 나온다.", "채식 메뉴에는 초록 잎이 그려져 있다.", "손님은 카드로 낸다."),
        (("채식 메뉴는 어떻게 알아보나요?", 1), ("구내식당 손님은 무엇으로 내나요?", 2)),
    ),
    (
        "주차장",
        ("차단기는 직원 카드로 열린다.", "전기차는 지하 이 층에서 충전한다.", "자전거는 마당에 세운다."),
        (("전기차는 몇 층에서 충전하나요?", 1), ("자전거는 어디에 세우나요?", 2)),
    ),
    (
        "화재",
        ("승강기 말고 계단으로 나간다.", "모이는 곳은 다동 뒤의 잔디밭이다.", "안내원은 주황색 조끼를 입는다."),
        (("불이 나면 모이는 곳은 어디인가요?", 1), ("안내원은 어떤 조끼를 입나요?", 2)),
    ),
)
UNANSWERABLE = {"en": "Who won the chess tournament?", "ko": "체스 대회에서 누가 우승했나요?"}


def write_corpus(folder: Path, language: str) -> Path:
    """Write the documents as d01.md … d12.md and the questions as questions.jsonl; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = [{"id": "none", "question": UNANSWERABLE[language], "unanswerable": True}]
    for number, (title, sentences, asked) in enumerate({"en": ENGLISH, "ko": KOREAN}[language], start=1):
        name = f"d{number:02}"
        (folder / f"{name}.md").write_text(f"# {title}\n\n{' '.join(sentences)}\n", encoding="utf-8")
        for letter, (question, at) in zip("ab", asked, strict=True):
            evidence = [[{"document": name, "quote": sentences[at]}]]
            questions.append({"id": f"{name}{letter}", "question": question, "answers": [sentences[at]], "evidence": evidence})
    write_questions(folder, questions)
    return folder


def write_questions(folder: Path, questions: list[dict]) -> None:
    """Write questions.jsonl."""
    lines = "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
    (folder / "questions.jsonl").write_text(lines, encoding="utf-8")
