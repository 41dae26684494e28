"""Answers that the patterns of `workbench.text_refusal` were fitted to, by the definition of `refusal_held_out`; one a line."""

EN_REFUSALS = """
I don't know.
I don't know the answer to this question.
I do not know who wrote the report.
The passages do not say.
The passage does not mention the price.
The passages don't mention a deadline for the application.
The provided context does not contain enough information.
The provided context does not contain the answer to this question.
The documents provided do not specify the notice period.
The text does not state how many people were injured.
The context does not provide information about the boiling point of water on Mars.
The contract does not specify a notice period.
The manual does not indicate which filter to buy.
The handbook does not contain information about this topic.
The policy does not say whether part-time staff are eligible.
The passage does not explicitly state the year.
The passage does not give the name of the doctor.
The price is not mentioned in the passages.
It is not mentioned in the context.
The dosage is not specified in the leaflet.
The date of the hearing is not provided in the given text.
That is not stated in the document.
This information is not provided.
The information is not available in the documents.
There is no information about the refund period in the provided documents.
There is no mention of a deposit in the lease.
There is not enough information to answer the question.
There is insufficient information in the passages to determine the amount.
There is nothing in the context about opening hours.
No information about the author is given in the text.
No relevant information was found in the documents.
I cannot answer this question based on the given passages.
I can't answer that.
I could not find this in your uploaded documents.
I couldn't find any information about pets.
I was not able to find the answer in the context.
I am unable to determine the answer from the passages.
Unable to determine.
Unable to answer from the given context.
Cannot answer.
Can't be determined.
It cannot be determined from the passage whether the appeal succeeded.
It is impossible to tell from the text.
It is not possible to determine the date from the information provided.
It is unclear from the context who paid the fine.
I'm sorry, but I don't have enough information to answer this question.
I'm sorry, but the documents do not contain this information.
I'm sorry, but I cannot help with that request.
Sorry, I don't know.
I apologize, but I am not able to answer this question.
Unfortunately, the passages do not contain that information. Please contact customer service.
I do not have information on that topic.
I don't have access to your account, so I cannot tell you.
Unknown.
N/A
Not specified.
Not enough information.
The question is unanswerable.
This question cannot be answered based on the passages.
The answer cannot be found in the provided passages.
The answer to this question is not in the context.
None of the passages mention the warranty for batteries.
None of the documents contain the answer.
Neither passage says when the clinic opens.
Nothing in the passages says that.
**The passages do not contain the answer.**
The passages do not say [1][2].
The context only describes the company's products. It does not mention its revenue.
The passage discusses the symptoms of the disease but does not say how it is treated.
The policy covers fire and theft. Therefore, it is not possible to determine from the passages whether floods are covered.
Based on the passages, I cannot say whether the tenant may keep a dog.
I am not sure.
I don't know. The provided context does not contain information about the monthly repayment. It does mention the interest rate.
I do not have enough evidence to answer this question based on the provided documents.
The requested information is not included in the excerpts.
The provided passages lack any details about the merger.
The documents do not address this question.
The retrieved documents do not answer the question.
""".strip().splitlines()

EN_ANSWERS = """
No, refunds are not possible.
Yes.
You cannot return opened items.
There is no fee.
There is no cure for the disease.
There is no evidence that the vaccine causes autism.
There is no deadline; you may apply at any time.
The contract does not state a term: it is open-ended.
The contract does not state a term, so it is open-ended.
The passage does not say exactly, but the fee is 5,000 won.
The documents do not mention the exact date. However, passage 2 says that it was in spring.
While the passage does not mention the price directly, it says that the service is free of charge.
It is not explicitly stated, but the deadline appears to be 30 June.
I'm not sure, but I think it is 14 days.
I am not certain, but the fee seems to be 20 dollars.
Although I cannot give the exact number, about 400 people attended.
The policy does not cover flood damage.
The warranty does not include accessories.
The contract does not provide for compensation.
The law does not allow dismissal during sick leave.
The court could not determine who had caused the accident.
The cause of the fire is unknown.
According to the report, the cause of the fire is unknown.
It is not known how the virus reached the island.
The author of the poem is unknown.
The effect on unborn children is not known.
His date of birth was not recorded.
The police were unable to find the suspect.
The doctor did not know about the allergy.
The customer does not have to give a reason.
I cannot recommend it to patients with heart disease, because it raises the blood pressure.
The error "no information available" appears when the sensor is offline.
The message reads: "I'm sorry, but I can't help with that."
When the address is unknown, the letter goes back to the sender.
If the information is not provided, the application is rejected.
If no date is specified, payment is due within 30 days.
If you do not know your customer number, look at your last invoice.
You will not be told the result by phone.
The application cannot be processed without a passport.
Late applications cannot be considered.
Children under 12 cannot take this medicine.
Sorry, the shop is closed on Sundays.
Unfortunately, your warranty has expired.
We apologize for the delay; the parcel arrives tomorrow.
It is not necessary to sign the form.
It is impossible to change the password without the old one.
It is not possible to combine two vouchers.
It is not allowed.
Never.
Not more than two tablets a day.
Nothing.
Nobody.
No one may enter the laboratory without goggles.
The account cannot be found because it was deleted after 90 days.
The seller does not provide the original box.
Personal information is not provided to advertisers.
We do not provide information about other customers.
The document must be submitted within 14 days.
The passage is 12 metres long.
The document was signed on 3 May 2020.
The document does not need to be notarised.
The text must not be longer than 500 words.
The article does not apply to minors.
The information desk is on the second floor.
The information must be kept for ten years.
Anonymous data cannot be linked to a person.
Unknown senders are blocked.
An unspecified number of files was lost, probably about 200.
Ask your doctor if you do not know whether you are allergic.
They don't know.
She does not know the answer.
He was unable to answer the question of the judge.
I, the undersigned, do not know of any claims against the company.
The plaintiff argues that the contract does not mention interest.
Void, because the form does not state the purchase price.
The notice is invalid if it does not mention the reason.
The variable is undefined.
The function returns None if the key is not found.
Fourteen days after delivery, unless the contract does not specify otherwise.
Data retention: not specified by law, two years in practice.
""".strip().splitlines()

KO_REFUSALS = """
알 수 없습니다.
모르겠습니다.
잘 모르겠어요.
저도 모르겠습니다.
모릅니다.
문서에서 답을 찾을 수 없습니다.
제공된 문서에서 답을 찾을 수 없습니다.
제공된 문서에는 환불에 대한 내용이 없습니다.
제공된 문서에는 해당 정보가 없습니다.
제공된 문서에서 해당 정보를 찾을 수 없습니다.
제공된 문서에서 관련 정보를 찾지 못했습니다.
해당 내용은 제공된 문서에서 확인되지 않습니다.
제공된 문서에서는 질문에 대한 충분한 근거를 확인할 수 없습니다.
제공된 정보로는 정확히 알 수 없습니다.
주어진 정보에서는 알 수 없습니다.
정보가 부족하여 알 수 없습니다.
정보가 부족합니다.
정보가 충분하지 않습니다.
나와 있지 않습니다.
문서에 나와 있지 않다.
본문에 나오지 않습니다.
언급되어 있지 않습니다.
본문에는 가격이 언급되어 있지 않음
계약서에 해지 통보 기간이 명시되어 있지 않습니다.
설명서에 필터 교체 주기가 적혀 있지 않습니다.
약관에는 휴면 계정에 대한 언급이 없습니다.
질문에 대한 답변을 드릴 수 없습니다.
답변드릴 수 없습니다.
답변할 수 없습니다.
이 질문에는 답할 수 없다.
답변하기 어렵습니다.
죄송하지만 답변드리기 어렵습니다.
죄송합니다. 관련 내용을 찾을 수 없습니다.
죄송합니다. 해당 주제에 대해서는 답변드릴 수 없습니다.
죄송하지만 관련 문서를 찾을 수 없어 답변드릴 수 없습니다.
확인할 수 없습니다.
정확한 금액은 확인할 수 없습니다.
회사의 설립 연도는 알 수 없습니다.
담당 의사가 누구인지 알 수 없다.
지문만으로는 알 수 없다.
주어진 자료로는 판단할 수 없습니다.
판단 불가
알 수 없다
문서에 언급되지 않음.
해당 정보 없음
관련 정보 없음.
답을 찾을 수 없음
해당 내용은 문서에 포함되어 있지 않습니다.
질문하신 내용은 제공된 자료에 없습니다.
그런 내용은 문서에 없습니다.
공지문에는 주차장에 관한 안내가 없습니다.
관련 정보를 확인할 수 없어 고객센터에 문의해 주세요.
확인 가능한 자료가 없어 이 질문에는 답변드릴 수 없습니다.
현재 제공된 근거로는 정확한 안내가 어렵습니다.
해당 주제에 대한 정보는 저장된 데이터에 없어 답변드릴 수 없습니다.
문서에는 증상만 설명되어 있으며 치료 방법은 언급되어 있지 않습니다.
문서 1은 제품을, 문서 2는 연혁을 설명하고 있습니다. 매출에 대한 내용은 없습니다.
보험은 화재와 도난을 보장합니다. 따라서 홍수가 보장되는지는 문서만으로 알 수 없습니다.
제공된 자료에는 언급이 없으므로 담당 부서에 문의하시기 바랍니다.
해당 질문에 대한 답은 지문에 없다.
어느 문서에도 보증 기간이 나와 있지 않습니다.
두 문서 모두 개원 시간을 밝히지 않았습니다.
문서에 답이 없습니다 [1][2].
**답을 알 수 없습니다.**
그 부분은 안 나와 있어요.
그건 문서에 없어요.
문서만 봐서는 모르겠네요.
찾을 수 없습니다.
질문과 관련된 내용을 찾지 못했습니다.
도와드릴 수 없습니다.
저는 그 정보에 접근할 수 없습니다.
구체적인 날짜에 대한 정보는 제공되지 않았습니다.
본문을 통해서는 확인이 불가능합니다.
개별 종목에 대한 판단은 답변드릴 수 없습니다.
제시된 문서는 해당 질문에 대한 정보를 포함하고 있지 않습니다.
문서가 질문과 관련이 없습니다.
이 문서로는 답변이 불가능합니다.
제공된 조문으로는 알 수 없습니다.
누가 썼는지는 확실하지 않습니다. 문서에 나와 있지 않습니다.
""".strip().splitlines()

KO_ANSWERS = """
아니요, 환불은 불가능합니다.
네.
환불할 수 없습니다.
신청할 수 없다.
수수료가 없습니다.
수수료는 없습니다.
기한이 없으므로 언제든 신청할 수 있습니다.
치료법이 없습니다.
백신이 자폐를 일으킨다는 증거는 없습니다.
계약서에 기간이 명시되어 있지 않으므로 무기한입니다.
정확히는 나와 있지 않지만 수수료는 5,000원입니다.
문서에 정확한 날짜는 없습니다. 다만 문서 2에 따르면 봄에 열렸습니다.
가격이 직접 언급되지는 않았지만 무료로 제공된다고 합니다.
명시되어 있지는 않으나 마감일은 6월 30일로 보입니다.
확실하지는 않지만 14일인 것 같습니다.
잘 모르겠지만 14일일 것 같아요.
홍수 피해는 보장되지 않습니다.
부속품은 보증에 포함되어 있지 않습니다.
조식은 요금에 포함되어 있지 않습니다.
병가 중에는 해고할 수 없다.
법원은 누가 사고를 냈는지 판단하지 못했다.
화재 원인은 밝혀지지 않았다.
보고서에 따르면 화재 원인은 알려져 있지 않습니다.
바이러스가 섬에 들어온 경로는 알려지지 않았습니다.
작자 미상
작자를 알 수 없는 시입니다.
태아에 미치는 영향은 알려져 있지 않다.
경찰은 용의자를 찾지 못했다.
의사는 알레르기를 알지 못했다.
이유를 말할 필요는 없습니다.
혈압을 높이므로 심장병 환자에게는 권하지 않습니다.
센서가 꺼져 있으면 "정보 없음"이라고 표시됩니다.
안내문에는 "답변할 수 없습니다"라는 문구가 나옵니다.
주소를 알 수 없으면 우편물은 반송됩니다.
정보를 제공하지 않으면 신청이 거절됩니다.
날짜가 명시되어 있지 않으면 30일 안에 지급합니다.
고객 번호를 모르면 최근 청구서를 확인하세요.
결과는 전화로 알려 드리지 않습니다.
여권 없이는 접수할 수 없습니다.
기한이 지난 신청은 받을 수 없습니다.
12세 미만은 복용할 수 없습니다.
죄송하지만 일요일은 휴무입니다.
안타깝게도 보증 기간이 끝났습니다.
늦어서 죄송합니다. 택배는 내일 도착합니다.
서명할 필요 없음
기존 비밀번호 없이는 바꿀 수 없습니다.
쿠폰은 중복해서 사용할 수 없습니다.
안 됩니다.
해당 없음
아무도 없습니다.
이상 없음
보안경 없이는 실험실에 들어갈 수 없다.
90일이 지나 삭제된 계정은 찾을 수 없습니다.
판매자는 상자를 제공하지 않습니다.
개인정보는 광고주에게 제공되지 않습니다.
다른 고객의 정보는 제공해 드릴 수 없습니다.
서류는 14일 이내에 내야 합니다.
문서는 2020년 5월 3일에 서명되었다.
문서를 공증받을 필요는 없습니다.
본문은 500자를 넘을 수 없습니다.
이 조항은 미성년자에게 적용되지 않는다.
안내 데스크는 2층에 있습니다.
자료는 10년간 보관해야 합니다.
익명 정보는 특정 개인과 연결할 수 없습니다.
발신자를 알 수 없는 전화는 차단됩니다.
알레르기가 있는지 모르면 의사와 상담하세요.
그들은 모른다.
그녀는 답을 모릅니다.
그는 판사의 질문에 답하지 못했다.
원고는 계약서에 이자가 언급되어 있지 않다고 주장한다.
매매 대금이 적혀 있지 않아 무효이다.
사유가 명시되지 않은 통지는 무효입니다.
키를 찾을 수 없으면 None을 반환합니다.
로그인하지 않으면 내역을 확인할 수 없습니다.
비밀번호는 관리자도 알 수 없습니다.
출고된 상품은 배송지를 변경할 수 없습니다.
제3자에게는 진료 기록을 제공할 수 없습니다.
재판 중인 사건에 대해서는 언급하지 않았다.
특별한 부작용은 없습니다.
정해진 복장은 없으며 편한 옷을 입으면 됩니다.
""".strip().splitlines()
