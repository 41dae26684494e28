"""Answers that were labelled before the patterns of `workbench.text_refusal` existed, and that no pattern was fitted to; one a line.

A refusal gives no answer: it says that the passages or the speaker do not tell, or declines; apologies, pointers elsewhere and a word on
what the passages do cover may stand beside it. Everything that answers is none: "no", a ban, a lack of fees, a fact about what nobody
knows, an answer that follows a reservation.
"""

EN_REFUSALS = """
I do not have enough information to answer this question.
I don't know based on the given passages.
I'm afraid the documents you gave me are silent on this point.
Sorry, I couldn't find anything about overtime pay in the handbook excerpts.
The lease excerpts do not indicate how many parking spaces come with the flat.
Based on the provided context, it is impossible to say who signed the amendment.
The passages do not contain any information on the side effects of the second dose.
No information is available on the refund period for gift cards.
The text doesn't tell us when the clinic was founded.
There's nothing in the passages about a student discount.
The context does not provide the name of the presiding judge.
It is not stated in the passages how long the appeal may take.
This question cannot be answered from the passages provided.
The answer is not in the passages.
Not stated.
Not mentioned in the text.
I cannot determine the dosage for children from the information given.
I am unable to answer that because none of the passages discuss shipping to Norway.
The given excerpts make no mention of a security deposit.
Insufficient information.
The information required to answer the question is missing from the context.
Unfortunately, the passages don't specify which form must be used.
I'm sorry, but I can't help with that.
As an AI language model, I do not have access to your order history.
None of the sources say whether the device is waterproof.
The warranty booklet does not say how long the battery is covered.
Nothing in the contract excerpts specifies a governing law.
The passages only describe how to file a claim; they do not mention how long a decision takes.
Passage 1 covers eligibility and passage 2 covers deadlines. Neither mentions the size of the grant.
The question cannot be answered with the available information. Please contact the hospital directly.
I could not find the answer in the provided documents. You may want to ask the human resources department.
The provided text does not include details about the author's early life.
I don't have that information.
I have no idea.
There is not enough context to say which version fixed the bug.
It's unclear from the passages whether dependants are covered.
The documents don't say, so I can't tell you.
I was unable to locate a reference to paternity leave in these documents.
Sorry, I do not know the answer to that.
The passage does not answer this question.
No answer found.
Unanswerable.
The article does not discuss what happened to the crew afterwards.
We cannot tell from the text whether the patient had been vaccinated.
The excerpt does not give a figure for annual revenue.
The question asks for the CEO's salary, but the passages do not disclose it.
The passages mention the merger, but they do not state when it was completed.
Regrettably, that is not specified in the terms supplied.
Your question falls outside the documents I was given.
The exact amount of the penalty isn't mentioned anywhere in the provided sections [1][2].
Cannot be determined from the context.
The policy does not specify whether cosmetic repairs need approval. I recommend asking your insurer.
No mention is made of a cooling-off period.
I can't answer this with the passages I have.
The passages lack information regarding the cost of the visa.
That detail does not appear in any of the passages.
The retrieved passages are not relevant to your question, so I am not able to answer it.
I am not sure; the passages do not cover this.
According to the passages, the opening hours on public holidays are not given.
It does not say.
""".strip().splitlines()

EN_ANSWERS = """
No.
No, you cannot cancel the order once it has been dispatched.
No refunds are given on downloaded software.
There is no charge for the first visit.
There are no known interactions with paracetamol.
The tenant may not sublet the flat without written consent.
Employees who do not know their personnel number should ask the payroll office.
You cannot change the delivery address after payment.
The policy does not cover damage caused by frost.
The agreement does not include maintenance of the garden.
It is not known whether the drug passes into breast milk, so it should not be taken while nursing.
The cause of the outbreak is still unknown.
Nobody knows who painted the altar.
The passage does not give an exact figure, but it says that about 300 workers took part.
The handbook does not mention Saturdays explicitly; however, overtime is paid for every hour beyond forty.
Although the text does not name the author, it says that the report was written by the finance committee.
The lease does not state an end date, so it runs for an indefinite period.
I don't know the exact day, but it opened in March 2011.
Not before the age of 18.
None.
Nothing needs to be signed.
You do not need a referral.
The answer is 42.
He said he did not know who had fired the shot.
The witness testified, "I don't know," when asked about the car.
The screen shows the message "Unable to find the requested file".
The patient could not remember the accident.
A claim cannot be made after three years.
The court found no evidence that the goods were defective.
The application is rejected if the required information is missing.
Support staff cannot see your password.
Data from which a person cannot be identified are not personal data.
If the serial number cannot be determined, the warranty lapses.
It depends on the length of service: 15 days after one year, 20 after five.
Sorry for the inconvenience; your refund was issued on 3 May.
Unfortunately, the offer ended on 30 June.
Unfortunately, opened cosmetics cannot be returned.
The device is not suitable for use outdoors.
The insurer must give notice in writing if information was withheld.
No information is passed on to third parties.
The form asks for information that is not provided in the passport, such as your height.
The law does not require a reason to be stated.
The supplier is unable to deliver on Sundays.
They were unable to agree on a price.
Customers who cannot provide a receipt get store credit.
Fourteen days [1].
No, the museum is not open on Mondays.
The committee declined to comment.
Call the service desk at extension 4500.
Because the sender was unknown, the parcel was returned.
Incomplete applications are not considered.
The recipe contains no eggs.
Not all employees are eligible; only those with six months of service are.
Without a valid ticket you cannot enter, and there are no exceptions.
Applicants are told within ten days whether they were accepted. Reasons are not given.
The will did not mention his second wife, which is why the estate was divided among the children.
The error means that the server could not find the page.
Sufficient information must be given to the patient before consent.
She refused to answer the question.
The term "unspecified" in the code list means that the site of the injury was not recorded.
""".strip().splitlines()

KO_REFUSALS = """
주어진 문서만으로는 답을 알 수 없습니다.
해당 질문에 대한 답변은 제공된 자료에서 찾을 수 없습니다.
죄송합니다. 제공해 주신 내용에는 연회비에 대한 설명이 없습니다.
본문에 언급이 없어 정확한 날짜는 알 수 없습니다.
문서에는 환불 기한이 나와 있지 않습니다.
지문에 해당 정보가 없습니다.
계약서 발췌문에는 위약금 액수가 기재되어 있지 않습니다.
판결문에 담당 판사의 이름이 명시되어 있지 않아 답변드리기 어렵습니다.
제공된 정보로는 소아 용량을 확인할 수 없습니다.
모르겠어요.
잘 모르겠습니다.
그건 저도 모르겠네요.
알 수 없음
정보 없음
언급 없음.
문서에 없음
답변 불가
확인 불가
관련 내용이 문서에 없음.
문맥상 알 수 없음.
제시된 글에는 그 사람이 어디서 태어났는지 적혀 있지 않다.
이 글만 보고는 누가 서명했는지 판단하기 어렵다.
위 문서들은 배송비를 다루고 있지 않습니다.
제공된 문맥에서는 설립자에 대한 언급을 찾을 수 없었습니다.
질문하신 내용은 안내문에 포함되어 있지 않습니다.
죄송하지만 그 질문에는 답해 드릴 수 없어요.
죄송합니다만, 도움을 드릴 수 없습니다.
그 부분은 문서에서 확인되지 않습니다.
문서에는 신청 방법만 설명되어 있고 처리 기간은 나와 있지 않습니다.
첫 번째 문서는 자격 요건을, 두 번째 문서는 제출 서류를 설명합니다. 지원 금액에 대한 정보는 없습니다.
해당 내용은 확인이 어렵습니다. 고객센터(1588-0000)로 문의해 주세요.
제공된 문서에서 관련 정보를 찾지 못했습니다. 인사팀에 문의하시기 바랍니다.
근거가 되는 내용을 찾을 수 없어서 답변이 어렵습니다.
제가 가진 정보로는 답변하기 어렵습니다.
자료가 부족하여 판단할 수 없습니다.
이 질문에 답하기에는 정보가 충분하지 않습니다.
주어진 지문으로는 답할 수 없는 질문입니다.
본문에서 답을 찾을 수 없다.
알 수가 없습니다.
알 수 없어요.
문서에 따르면 공휴일 운영 시간은 따로 안내되어 있지 않습니다.
약관에 별도로 규정된 내용이 없어 확인이 불가능합니다.
설명서에는 방수 여부가 언급되지 않았습니다.
문서에서는 해당 주제를 다루지 않습니다.
제공된 컨텍스트에 답이 포함되어 있지 않습니다.
구체적인 금액은 명시되지 않았습니다.
정확한 인원은 본문에 나오지 않는다.
누가 작성했는지에 대한 정보는 제공되지 않았습니다.
질문에 대한 답이 문서에 없습니다.
관련된 내용이 없습니다 [1].
아쉽게도 문서에 그런 내용은 없어요.
글쎄요, 문서에는 안 나와 있어요.
그 내용은 안 적혀 있네요.
제공된 문서들은 질문과 관련이 없어 답변을 드릴 수 없습니다.
환자의 예방 접종 여부는 기록만으로 알기 어렵습니다.
그에 관한 정보를 갖고 있지 않습니다.
개인 주문 내역에는 접근할 수 없어 답변드릴 수 없습니다.
합병이 언급되기는 하지만 언제 완료되었는지는 나와 있지 않습니다.
질문은 대표의 연봉을 묻고 있으나 문서에는 이에 대한 정보가 없습니다.
해당 사항에 대해서는 답변드릴 수 있는 정보가 없습니다.
""".strip().splitlines()

KO_ANSWERS = """
아니요.
아니요, 발송된 뒤에는 주문을 취소할 수 없습니다.
다운로드한 소프트웨어는 환불되지 않습니다.
첫 방문은 비용이 없습니다.
알려진 약물 상호작용은 없습니다.
임차인은 임대인의 동의 없이 전대할 수 없다.
사번을 모르는 직원은 급여 담당자에게 문의합니다.
결제 후에는 배송지를 바꿀 수 없어요.
동파로 인한 손해는 보상하지 않습니다.
정원 관리는 계약에 포함되지 않습니다.
이 약이 모유로 이행되는지는 알려져 있지 않으므로 수유 중에는 복용하지 않습니다.
발병 원인은 아직 밝혀지지 않았습니다.
제단화를 누가 그렸는지는 아무도 모른다.
정확한 수치는 나와 있지 않지만 약 300명이 참가했다고 합니다.
토요일에 대한 언급은 없으나, 주 40시간을 넘는 근로에는 연장 수당이 지급됩니다.
계약 기간이 명시되어 있지 않으므로 기간의 정함이 없는 계약으로 봅니다.
정확한 날짜는 모르겠지만 2011년 3월에 문을 열었습니다.
만 18세 이전에는 안 됩니다.
없음
없습니다.
서명할 필요가 없습니다.
진료 의뢰서는 필요하지 않습니다.
정답은 42입니다.
그는 누가 총을 쏘았는지 모른다고 말했다.
증인은 차에 대해 묻자 "모르겠습니다"라고 답했다.
화면에 '요청한 파일을 찾을 수 없습니다'라는 메시지가 표시됩니다.
환자는 사고를 기억하지 못했다.
3년이 지나면 청구할 수 없습니다.
법원은 하자를 인정할 증거가 없다고 보았다.
필수 정보가 없으면 신청이 반려됩니다.
상담원은 고객의 비밀번호를 볼 수 없습니다.
특정 개인을 알아볼 수 없는 정보는 개인정보가 아니다.
제조 번호를 확인할 수 없는 경우 보증을 받을 수 없습니다.
근속 기간에 따라 다릅니다. 1년이면 15일, 5년이면 20일입니다.
불편을 드려 죄송합니다. 환불은 5월 3일에 처리되었습니다.
아쉽게도 행사는 6월 30일에 끝났습니다.
죄송하지만 개봉한 화장품은 반품이 불가능합니다.
이 제품은 실외에서 사용할 수 없습니다.
개인정보는 제3자에게 제공되지 않습니다.
이유를 밝힐 의무는 없습니다.
일요일에는 배송이 불가능합니다.
양측은 가격에 합의하지 못했다.
영수증이 없는 고객은 적립금으로 돌려받습니다.
14일입니다 [1].
아니요, 박물관은 월요일에 열지 않습니다.
위원회는 답변을 거부했다.
내선 4500번으로 문의하세요.
보낸 사람을 알 수 없어 소포가 반송되었다.
서류가 미비한 신청서는 심사하지 않습니다.
달걀은 들어 있지 않습니다.
모든 직원이 대상은 아니며, 6개월 이상 근무한 직원만 해당합니다.
유효한 표가 없으면 입장할 수 없으며 예외는 없습니다.
합격 여부는 열흘 안에 알려 드립니다. 사유는 공개하지 않습니다.
유언장에 둘째 부인에 대한 언급이 없어 재산은 자녀들에게 나누어졌다.
서버가 페이지를 찾지 못했다는 뜻의 오류입니다.
환자에게 충분한 정보를 제공해야 합니다.
그녀는 대답하지 않았다.
비회원은 주문 내역을 확인할 수 없습니다.
이의 신청 기한이 지난 사건은 다시 판단할 수 없다.
보관 기간이 지난 분실물은 찾을 수 없습니다.
""".strip().splitlines()
