"""What people of the demo world say. Enough variety to read well; the moods are not always in the words, as in life."""

from __future__ import annotations

OPENINGS = {
    "billing": (
        "Hi, I was charged twice for {month} and I would like one of them back.",
        "There is an amount of {amount} euros on my invoice that I do not recognise.",
        "My invoice for {month} shows the old plan, although I changed it weeks ago.",
        "Could you explain the fee of {amount} euros on the last bill?",
    ),
    "delivery": (
        "My parcel was due on {weekday} and the tracking has not moved since.",
        "The box arrived open and one of the two items is missing.",
        "You delivered to my old address, order {order}.",
        "I would like to know when order {order} will arrive.",
    ),
    "technical": (
        "The app signs me out every few minutes since the update on {weekday}.",
        "I cannot export the report, it stops at {percent} percent.",
        "The calendar shows every appointment one hour too early.",
        "Search finds nothing any more, on two different computers.",
    ),
    "account": (
        "I need to add a colleague to our account and cannot find where.",
        "My new phone does not get the sign-in code.",
        "Please change the e-mail address of our account to the one I write from.",
        "Who of us is the owner of this account? I have to change that.",
    ),
    "cancellation": (
        "I want to cancel my contract at the end of {month}.",
        "Please close our account, we move to another product.",
        "I tried to cancel on the site and it sends me in circles.",
        "What notice do I have to give if I want to stop?",
    ),
    "information": (
        "Do you offer the larger plan for a team of {team}?",
        "Is there a way to try the voice add-on before we buy it?",
        "How long do you keep recordings?",
        "Which countries do you ship to?",
    ),
}

AGENT_FIRST = (
    "Thank you for getting in touch. Let me look at that.",
    "I see. May I have the number of your account, please?",
    "I am opening your account now, one moment.",
    "Sorry to hear that. I will check what happened.",
)

AGENT_MIDDLE = (
    "I see. May I have the number of your account, please?",
    "Since when has that been so?",
    "Which order is it about?",
    "I have found your account. One moment, I am reading the notes.",
    "Let me ask a colleague who knows this better.",
    "I see the entry now. Is the address still the same?",
)

CUSTOMER_MIDDLE = {
    "negative": (
        "I already explained this to two of your colleagues.",
        "This is the third time I write about it.",
        "I have been waiting for half an hour.",
        "Honestly, this should not be so hard.",
        "Your help page says the opposite.",
    ),
    "neutral": (
        "It is {order}.",
        "Yes, that is the one.",
        "It started on {weekday}.",
        "I am not sure, it may have been earlier.",
        "The address is the same as before.",
    ),
    "positive": (
        "Sure, it is {order}, take your time.",
        "Yes, that works nicely so far.",
        "No rush, I just want to understand it.",
        "Your colleague was very kind last time.",
        "That is good to know.",
    ),
}

AGENT_LAST = {
    "resolved": (
        "I have corrected it now; you will get a confirmation in a minute.",
        "That is done. The change is active from today.",
        "I found the cause and removed it. Could you try again? … Good.",
        "The refund of {amount} euros is on its way, three working days.",
    ),
    "partly": (
        "I changed one half; for the other I opened a ticket with our team.",
        "I can credit {amount} euros now, the rest needs a decision by accounting.",
        "There is a way around it until the next update.",
        "I noted it. You will hear from us by {weekday}.",
    ),
    "unresolved": (
        "I am afraid I cannot change that from here.",
        "Our system does not let me do this. You would have to write to accounting.",
        "Nobody of that team is in today, please try again tomorrow.",
        "I see the same error, and I do not know the cause yet.",
    ),
}

# What is drawn above need not fit what was said before: these take its place where it does not. Each has as many words as
# the line that it replaces, and those of SUBSTITUTES at the same place, so that calls are heard as they were drawn.
FITTING = {
    "billing": {
        "I see the same error, and I do not know the cause yet.": "I see the same entry, and I do not know the cause yet.",
        "There is a way around it until the next update.": "There is a way to pay less until we know.",
    },
    "delivery": {
        "I see the same error, and I do not know the cause yet.": "I see the same entry, and I do not know the cause yet.",
        "There is a way around it until the next update.": "There is a way to collect it until next week.",
        "I found the cause and removed it. Could you try again? … Good.": "I found the parcel and sent it. Could you look there? … Good.",
    },
    "technical": {
        "I can credit {amount} euros now, the rest needs a decision by accounting.": "I can change one part now, the rest needs a decision by colleagues.",
        "Which order is it about?": "One account or several ones?",
        "The refund of {amount} euros is on its way, three working days.": "The account of your team is set back, three minutes of patience.",
    },
    "account": {
        "I see the same error, and I do not know the cause yet.": "I see the same entry, and I do not know the cause yet.",
        "I can credit {amount} euros now, the rest needs a decision by accounting.": "I can change one part now, the rest needs a decision by colleagues.",
        "Sorry to hear that. I will check what happened.": "Good that you ask. I will check that now.",
        "Since when has that been so?": "Are you an admin there yourself?",
        "Which order is it about?": "One account or several ones?",
        "The refund of {amount} euros is on its way, three working days.": "The account for your team is on its way, three working days.",
    },
    "cancellation": {
        "I see the same error, and I do not know the cause yet.": "I see the same entry, and I do not know the cause yet.",
        "Since when has that been so?": "May I ask why you leave?",
        "Which order is it about?": "One account or several ones?",
        "I found the cause and removed it. Could you try again? … Good.": "I found the form and sent it. Could you look there? … Good.",
        "There is a way around it until the next update.": "There is a way to pause it until next spring.",
    },
    "information": {
        "I can credit {amount} euros now, the rest needs a decision by accounting.": "I can change one part now, the rest needs a decision by colleagues.",
        "Sorry to hear that. I will check what happened.": "Good that you ask. I will check that now.",
        "Since when has that been so?": "Is that for your whole team?",
        "Which order is it about?": "One account or several ones?",
        "I have corrected it now; you will get a confirmation in a minute.": "I have looked it up; you will get an answer in a minute.",
        "That is done. The change is active from today.": "That is possible. The offer is open from today.",
        "I found the cause and removed it. Could you try again? … Good.": "I found the page and sent it. Could you look there? … Good.",
        "The refund of {amount} euros is on its way, three working days.": "The account for your team is on its way, three working days.",
        "There is a way around it until the next update.": "There is a way to that with the next update.",
        "I see the same error, and I do not know the cause yet.": "I see the same page, and I do not know any more myself.",
    },
}
"""What an agent says instead, by what the customer came for."""

ASKS = {
    "I see. May I have the number of your account, please?": "account",
    "Since when has that been so?": "since",
    "Which order is it about?": "order",
    "I see the entry now. Is the address still the same?": "address",
    "One account or several ones?": "several",
    "Are you an admin there yourself?": "admin",
    "May I ask why you leave?": "leaving",
    "Is that for your whole team?": "team",
}
"""What a line of an agent asks for; the others ask for nothing."""

_NUMBER = ("It is {number}.", "I think it is {number}.", "The number is {number}.", "I have it here somewhere: it must be {number}.",
           "It should be {number} in your list.", "Sure, it is {number}, take your time.", "Sure, that should be {number} here.")  # fmt: skip
ANSWERS = {
    "": ("That is fine.", "Yes, I am still here.", "I can wait, yes.", "I am not sure who else I should ask.",
         "You can write to me as well.", "Sure, that is fine, take your time.", "Good, that works nicely for me."),
    "account": _NUMBER,
    "order": _NUMBER,
    "since": ("Since last {weekday}.", "It began on {weekday}, roughly.", "It started on {weekday}.", "I am not sure, it may have been earlier.",
              "It has been like that for days.", "Only since {weekday}, so take your time.", "Since {weekday}; before that, all nicely."),
    "address": ("Yes, it is.", "Yes, that is the one.", "It is the same.", "I am not sure, we may have moved since.",
                "The address is the same as before.", "Sure, it still is, take your time.", "Yes, mail reaches us nicely there."),
    "several": ("Only that one.", "Only the one, I think.", "Just that one, yes.", "I am not sure, there may be one more.",
                "There is one more that I use.", "Only that one, so take your time.", "Only one, and it works nicely."),
    "admin": ("I think so.", "Yes, I should be one.", "No, my colleague is.", "I am not sure, it may be my boss.",
              "Yes, since the beginning of the year.", "Yes, I am, and take your time.", "Yes, that works nicely so far."),
    "leaving": ("We are moving.", "We do not need it.", "Our office closes soon.", "I am not sure, my boss has decided that.",
                "We have another product for that now.", "Only because we move, it was good.", "We move; all was nicely done."),
    "team": ("The whole team.", "For all of us, yes.", "For our whole team.", "I am not sure yet, it may be all.",
             "For me alone, at least at first.", "For all of us, take your time.", "For all, they would love it."),
}  # fmt: skip
"""What a customer says instead of each of ANSWERED, by what they were asked for."""
ANSWERED = (*CUSTOMER_MIDDLE["neutral"], *CUSTOMER_MIDDLE["positive"][:2])


def fitting(line: str, *, intent: str, asked: str) -> str:
    """The drawn line, or what fits better: `intent` is what the customer came for, `asked` what the agent said before."""
    if line in ANSWERED:
        return ANSWERS[ASKS.get(asked, "")][ANSWERED.index(line)]
    return FITTING.get(intent, {}).get(line, line)


CLOSINGS = {
    "negative": (
        "This is really disappointing.",
        "I am annoyed, and I will tell others about it.",
        "That is a terrible answer for what we pay.",
        "Great. So I call again tomorrow, like last week.",
        "Fine, then I know what to do next time: not buy here.",
        "I give up.",
        "Wonderful service, three weeks for a simple change.",
        "So nothing happens. I expected more.",
        "I am tired of repeating myself.",
    ),
    "neutral": (
        "All right.",
        "Okay, I will wait for the mail.",
        "Noted, bye.",
        "Then I will see what happens.",
        "Good, that was all.",
        "Okay. No problem.",
        "I will check it and come back if needed.",
    ),
    "positive": (
        "Thank you, that was quick!",
        "Great, I appreciate your help.",
        "Perfect, that is exactly what I needed.",
        "You saved my day, thanks.",
        "That went better than I feared, thank you.",
        "Lovely. Have a good day!",
        "No complaints at all, not a bad experience for once.",
    ),
}

FILLERS = ("uh", "um", "well", "you know", "like")
SUBSTITUTES = {
    "charged": "changed", "invoice": "in voice", "refund": "re-find", "two": "to", "thank": "tank", "annoyed": "a noid",
    "disappointing": "this appointing", "great": "grade", "waiting": "weighting", "order": "border", "fee": "free",
    "account": "a count", "cancel": "council", "terrible": "tear able", "perfect": "prefect", "explain": "plain",
}  # fmt: skip

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
