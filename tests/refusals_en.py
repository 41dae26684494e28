"""English answers, one a line, by whether they refuse (`workbench.text_refusal`).

The held-out ones were labelled before any pattern was written, and no pattern was fitted to them. A refusal gives no answer: it says that
the passages or the speaker do not tell, or declines; an apology, advice to ask elsewhere and a word on what the passages do cover may
stand beside it. Everything else answers: "no", a ban, a lack of fees, a fact about what nobody knows, an answer after a reservation.
"""

REFUSALS = """
I don't know.
I do not know who wrote the report.
The passages do not say.
The passage does not mention the price.
The passages don't mention a deadline for the application.
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
I cannot answer this question based on the given passages.
I can't answer that.
I could not find this in your uploaded documents.
I couldn't find any information about pets.
I was not able to find the answer in the context.
I am unable to determine the answer from the passages.
Unable to determine.
Cannot answer.
Can't be determined.
It cannot be determined from the passage whether the appeal succeeded.
It is impossible to tell from the text.
It is not possible to determine the date from the information provided.
It is unclear from the context who paid the fine.
I'm sorry, but I don't have enough information to answer this question.
I'm sorry, but the documents do not contain this information.
I'm sorry, but I cannot help with that request.
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
The answer to this question is not in the context.
None of the passages mention the warranty for batteries.
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
The provided passages lack any details about the merger.
The documents do not address this question.
The retrieved documents do not answer the question.
There's no way to know from these passages.
Passage 3 mentions a fee but does not give the amount.
Answer: Not mentioned in the passages.
From the context alone, it is impossible to determine whether the clause is enforceable.
""".strip().splitlines()

ANSWERS = """
No, refunds are not possible.
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
Children under 12 cannot take this medicine.
Unfortunately, your warranty has expired.
We apologize for the delay; the parcel arrives tomorrow.
It is not necessary to sign the form.
It is impossible to change the password without the old one.
It is not possible to combine two vouchers.
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
He was unable to answer the question of the judge.
I, the undersigned, do not know of any claims against the company.
The plaintiff argues that the contract does not mention interest.
Void, because the form does not state the purchase price.
The notice is invalid if it does not mention the reason.
The variable is undefined.
The function returns None if the key is not found.
Fourteen days after delivery, unless the contract does not specify otherwise.
Data retention: not specified by law, two years in practice.
The passages do not say exactly. You can return items within 14 days.
Nothing in this section limits the liability of the seller.
Neither party may assign the contract.
Do not tell anyone your PIN.
""".strip().splitlines()

HELD_OUT_REFUSALS = """
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

HELD_OUT_ANSWERS = """
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
