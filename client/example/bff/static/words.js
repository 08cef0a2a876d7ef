// All texts of the page, in one table for each language, and the choice of texts for a status. To add a language, add a table with
// the same keys.

const en = {
  language: "en",
  page: {
    title: "Verify your identity", connecting: "Connecting…", live: "Live", lost: "Reconnecting…", stale: "Reconnecting…", busy: "Paused",
    progress: "Progress", stepDocument: "Document", stepCheck: "Check", stepDone: "Done",
    bringDocument: "A passport, driving licence or identity card", bringCamera: "A phone or computer with a camera",
    wait: "One moment…", call: "Call 0800 555 0142", startOver: "Start over as somebody else",
    demonstration: "A demonstration: Larkspur does not exist, and beside “server dev” nobody is really verified.",
  },
  // What the page says of itself while it is not live.
  notices: {
    offline: "You are offline. This page continues by itself when you have a connection again.",
    lost: "We can’t reach our server right now.",
    stale: "We can’t reach our verification service right now.",
    outdated: "What you see may be out of date. The page continues by itself.", // after one of the last two
    busy: "This page is open too often from here, maybe by others on the same network. Close it where you don’t need it, or come back later.",
    cookies: "This page needs cookies. Please allow them for this site, and load the page again.",
    slow: "This takes longer than usual. Please stay on this page.",
  },
  loading: { title: "One moment…", text: "We are looking up how far you are." },
  away: {
    title: "This takes longer than it should", button: "Try again now",
    text: "We can’t look up how far you are right now. Nothing is lost, and this page keeps trying.",
  },
  // The problems that POST /link names.
  refusals: {
    UNAVAILABLE: "That did not work. Please try again in a moment.",
    BUSY: "This was tried very often just now, maybe by others on the same network. Nothing is lost: please wait a few minutes, and try again.",
    REFUSED: "That did not work, and another try would not help. Please call 0800 555 0142.",
    PROCESSING: "Your last try is still being checked.",
    ALREADY_VERIFIED: "You are verified already.",
    REDACTED: "Your data was erased. Start over.",
    LIMIT_REACHED: "You have no tries left.",
    NOT_RETRYABLE: "Trying again would not help here.",
    COOLDOWN: "It is too early for another try.",
    CANCELED: "This check was closed.",
    SUPERSEDED: "A newer check has taken the place of this one.",
    RESOLVED: "Our team is looking at it.",
  },
  start: {
    title: "Verify your identity", text: "Before we open your account, we need to know that you are you. Have at hand:",
    button: "Start verification", note: "It takes about two minutes. You go to a secure page and come back here afterwards.",
  },
  verified: { title: "You’re verified", text: "Thank you – that was all. Your account is ready.", fact: "Verified", note: "You can close this page." },
  unsubmitted: { title: "Go on where you left off", text: "You have not submitted your document yet. It takes about two minutes.", button: "Continue" },
  abandoned: { title: "Go on where you left off", text: "You closed the page before you had submitted anything. That costs no try.", button: "Continue" },
  checking: {
    title: "We’re checking your document", text: "This takes a few minutes at the most.",
    note: "You can leave this page open, or come back later: nothing gets lost.",
  },
  closed: { title: "This check was closed", text: "It was ended before it was complete.", button: "Start a new one" },
  failed: {
    title: "That didn’t work", text: "It happens, and you can try again.", fact: "What went wrong", button: "Try again",
    left: (n) => (n === 1 ? "You have one try left." : `You have ${n} tries left.`), later: (time) => `You can try again from ${time} on.`,
  },
  // An operator allowed one more try, whatever the tries that are left.
  allowed: { title: "You can try once more", text: "Our team has given you one more try.", button: "Try again" },
  // An operator dealt with the person, by the kind of the resolution; other: a kind that this page does not know.
  resolved: {
    VERIFIED_ELSEWHERE: { title: "You’re all set", text: "Our team has confirmed in another way that you are you.", note: "There is nothing more to do here. You can close this page." },
    CLOSED: { title: "This check is no longer needed", text: "Our team has closed it, and there is nothing to do here.", note: "Does that surprise you? Our team can tell you more." },
    other: { title: "Our team is looking at it", text: "One of us has taken this over, so there is nothing to do on this page.", note: "Do you have a question? Our team answers it." },
  },
  denied: { title: "We couldn’t verify you", used: "You have used all your tries.", final: "Trying again would not help here.", help: "Our team can help you in another way." },
  // By error code: what went wrong, what to do about it, and where these fit better, other words than those of
  // "failed" (try) and "denied" (end).
  codes: {
    CONSENT_DECLINED: {
      fact: "You did not agree to the check.",
      end: { title: "You chose not to be verified", text: "That is up to you: without your consent we check nothing.", help: "Have you changed your mind? Our team opens the check for you again." },
    },
    COUNTRY_NOT_SUPPORTED: { fact: "We can’t check documents from that country.", advice: "If you have a document of another country, use that one." },
    DEVICE_NOT_SUPPORTED: {
      fact: "Your device has no camera that works for this.", advice: "Use a phone: the next page shows you how to continue there.",
      try: { title: "You need a camera", text: "Most phones have one that is good enough.", button: "Continue on a phone" },
    },
    UNDER_SUPPORTED_AGE: { fact: "You are younger than the people whom we can verify." },
    DOCUMENT_EXPIRED: { fact: "Your document has expired.", advice: "Use one that is still valid." },
    DOCUMENT_TYPE_NOT_SUPPORTED: { fact: "We don’t take this type of document.", advice: "Use a passport, driving licence or identity card." },
    DOCUMENT_UNVERIFIED_OTHER: { fact: "We could not verify your document.", advice: "Use good light, and have all four corners in the picture." },
    SELFIE_DOCUMENT_MISSING_PHOTO: { fact: "Your document has no photo to compare your selfie with.", advice: "Use a document with a photo of you." },
    SELFIE_FACE_MISMATCH: { fact: "Your selfie does not match the photo on your document.", advice: "Look straight into the camera, in good light, without sunglasses or a hat." },
    SELFIE_MANIPULATED: { fact: "Your selfie looks as if it had been changed.", advice: "Take it with the camera, without filters." },
    SELFIE_UNVERIFIED_OTHER: { fact: "We could not verify your selfie.", advice: "Look straight into the camera, in good light, without sunglasses or a hat." },
    ID_NUMBER_INSUFFICIENT_DOCUMENT_DATA: { fact: "Your document does not show enough to check your ID number.", advice: "Use another document, if you have one." },
    ID_NUMBER_MISMATCH: { fact: "Your ID number does not match your name and date of birth.", advice: "Check all three for typing errors." },
    ID_NUMBER_UNVERIFIED_OTHER: { fact: "We could not verify your ID number.", advice: "Check it for typing errors." },
    ADDRESS_MISMATCH: { fact: "We could not find you at this address.", advice: "Enter the address at which you are registered." },
    EMAIL_UNVERIFIED_OTHER: { fact: "We could not verify your e-mail address.", advice: "Enter the code from the e-mail once more." },
    EMAIL_VERIFICATION_DECLINED: { fact: "You did not want your e-mail address verified.", advice: "We need it: enter the code that we send to it." },
    PHONE_UNVERIFIED_OTHER: { fact: "We could not verify your phone number.", advice: "Enter the code from the message once more." },
    PHONE_VERIFICATION_DECLINED: { fact: "You did not want your phone number verified.", advice: "We need it: enter the code that we send to it." },
    OTHER: { fact: "We could not complete the check." },
  },
};

const de = {
  language: "de",
  page: {
    title: "Bestätigen Sie, wer Sie sind", connecting: "Verbinden …", live: "Live", lost: "Neu verbinden …", stale: "Neu verbinden …", busy: "Angehalten",
    progress: "Fortschritt", stepDocument: "Ausweis", stepCheck: "Prüfung", stepDone: "Fertig",
    bringDocument: "Reisepass, Führerschein oder Personalausweis", bringCamera: "Ein Telefon oder einen Computer mit Kamera",
    wait: "Einen Moment …", call: "0800 555 0142 anrufen", startOver: "Als jemand anderes neu beginnen",
    demonstration: "Nur zur Vorführung: Larkspur gibt es nicht, und neben „server dev“ wird niemand wirklich geprüft.",
  },
  notices: {
    offline: "Sie sind offline. Sobald Sie wieder verbunden sind, geht es hier von selbst weiter.",
    lost: "Wir erreichen unseren Server gerade nicht.",
    stale: "Wir erreichen unseren Prüfdienst gerade nicht.",
    outdated: "Was Sie sehen, kann veraltet sein. Es geht von selbst weiter.",
    busy: "Diese Seite ist von hier aus zu oft geöffnet, vielleicht von anderen im selben Netz. Schließen Sie sie, wo Sie sie nicht brauchen, oder kommen Sie später zurück.",
    cookies: "Diese Seite braucht Cookies. Bitte erlauben Sie sie für diese Seite, und laden Sie sie neu.",
    slow: "Das dauert länger als sonst. Bitte bleiben Sie auf dieser Seite.",
  },
  loading: { title: "Einen Moment …", text: "Wir sehen nach, wie weit Sie sind." },
  away: {
    title: "Das dauert länger, als es sollte", button: "Jetzt noch einmal versuchen",
    text: "Wir können gerade nicht nachsehen, wie weit Sie sind. Nichts geht verloren, und diese Seite versucht es weiter.",
  },
  refusals: {
    UNAVAILABLE: "Das hat nicht geklappt. Bitte versuchen Sie es gleich noch einmal.",
    BUSY: "Das wurde gerade sehr oft versucht, vielleicht von anderen im selben Netz. Nichts geht verloren: Bitte warten Sie ein paar Minuten, und versuchen Sie es dann noch einmal.",
    REFUSED: "Das hat nicht geklappt, und ein weiterer Versuch würde nicht helfen. Bitte rufen Sie 0800 555 0142 an.",
    PROCESSING: "Ihr letzter Versuch wird noch geprüft.",
    ALREADY_VERIFIED: "Sie sind bereits bestätigt.",
    REDACTED: "Ihre Daten wurden gelöscht. Beginnen Sie neu.",
    LIMIT_REACHED: "Sie haben keinen Versuch mehr.",
    NOT_RETRYABLE: "Ein weiterer Versuch würde hier nicht helfen.",
    COOLDOWN: "Für einen weiteren Versuch ist es noch zu früh.",
    CANCELED: "Diese Prüfung wurde geschlossen.",
    SUPERSEDED: "Eine neuere Prüfung ist an die Stelle dieser getreten.",
    RESOLVED: "Unser Team kümmert sich darum.",
  },
  start: {
    title: "Bestätigen Sie, wer Sie sind", text: "Bevor wir Ihr Konto eröffnen, müssen wir wissen, dass Sie es sind. Halten Sie bereit:",
    button: "Prüfung beginnen", note: "Es dauert etwa zwei Minuten. Sie kommen auf eine sichere Seite und danach hierher zurück.",
  },
  verified: { title: "Sie sind bestätigt", text: "Danke – das war alles. Ihr Konto ist bereit.", fact: "Bestätigt", note: "Sie können diese Seite schließen." },
  unsubmitted: { title: "Machen Sie weiter, wo Sie waren", text: "Sie haben Ihren Ausweis noch nicht eingereicht. Es dauert etwa zwei Minuten.", button: "Weiter" },
  abandoned: { title: "Machen Sie weiter, wo Sie waren", text: "Sie haben die Seite geschlossen, bevor Sie etwas eingereicht hatten. Das kostet keinen Versuch.", button: "Weiter" },
  checking: {
    title: "Wir prüfen Ihren Ausweis", text: "Das dauert höchstens ein paar Minuten.",
    note: "Sie können diese Seite offen lassen oder später wiederkommen: Nichts geht verloren.",
  },
  closed: { title: "Diese Prüfung wurde geschlossen", text: "Sie wurde beendet, bevor sie vollständig war.", button: "Eine neue beginnen" },
  failed: {
    title: "Das hat nicht geklappt", text: "Das kommt vor, und Sie können es noch einmal versuchen.", fact: "Was nicht gepasst hat", button: "Noch einmal versuchen",
    left: (n) => (n === 1 ? "Sie haben noch einen Versuch." : `Sie haben noch ${n} Versuche.`), later: (time) => `Ab ${time} können Sie es noch einmal versuchen.`,
  },
  allowed: { title: "Sie können es noch einmal versuchen", text: "Unser Team hat Ihnen einen weiteren Versuch gegeben.", button: "Noch einmal versuchen" },
  resolved: {
    VERIFIED_ELSEWHERE: { title: "Alles erledigt", text: "Unser Team hat auf anderem Weg bestätigt, dass Sie es sind.", note: "Hier ist nichts mehr zu tun. Sie können diese Seite schließen." },
    CLOSED: { title: "Diese Prüfung ist nicht mehr nötig", text: "Unser Team hat sie geschlossen, und hier ist nichts zu tun.", note: "Überrascht Sie das? Unser Team erklärt es Ihnen." },
    other: { title: "Unser Team kümmert sich darum", text: "Jemand von uns hat das übernommen. Auf dieser Seite ist nichts zu tun.", note: "Haben Sie eine Frage? Unser Team beantwortet sie." },
  },
  denied: { title: "Wir konnten Sie nicht bestätigen", used: "Sie haben alle Versuche gebraucht.", final: "Ein weiterer Versuch würde hier nicht helfen.", help: "Unser Team kann Ihnen auf anderem Weg helfen." },
  codes: {
    CONSENT_DECLINED: {
      fact: "Sie haben der Prüfung nicht zugestimmt.",
      end: { title: "Sie wollten nicht geprüft werden", text: "Das entscheiden Sie: Ohne Ihre Zustimmung prüfen wir nichts.", help: "Haben Sie es sich anders überlegt? Unser Team öffnet die Prüfung wieder für Sie." },
    },
    COUNTRY_NOT_SUPPORTED: { fact: "Ausweise aus diesem Land können wir nicht prüfen.", advice: "Wenn Sie einen Ausweis eines anderen Landes haben, nehmen Sie diesen." },
    DEVICE_NOT_SUPPORTED: {
      fact: "Ihr Gerät hat keine Kamera, die dafür geeignet ist.", advice: "Nehmen Sie ein Telefon: Die nächste Seite zeigt Ihnen, wie es dort weitergeht.",
      try: { title: "Sie brauchen eine Kamera", text: "Die meisten Telefone haben eine, die gut genug ist.", button: "Auf einem Telefon weitermachen" },
    },
    UNDER_SUPPORTED_AGE: { fact: "Sie sind jünger als die Menschen, die wir prüfen können." },
    DOCUMENT_EXPIRED: { fact: "Ihr Ausweis ist abgelaufen.", advice: "Nehmen Sie einen, der noch gültig ist." },
    DOCUMENT_TYPE_NOT_SUPPORTED: { fact: "Diese Art von Ausweis nehmen wir nicht an.", advice: "Nehmen Sie Reisepass, Führerschein oder Personalausweis." },
    DOCUMENT_UNVERIFIED_OTHER: { fact: "Wir konnten Ihren Ausweis nicht prüfen.", advice: "Sorgen Sie für gutes Licht, und nehmen Sie alle vier Ecken ins Bild." },
    SELFIE_DOCUMENT_MISSING_PHOTO: { fact: "Ihr Ausweis hat kein Foto, mit dem wir Ihr Selfie vergleichen könnten.", advice: "Nehmen Sie einen Ausweis mit Ihrem Foto." },
    SELFIE_FACE_MISMATCH: { fact: "Ihr Selfie passt nicht zum Foto auf Ihrem Ausweis.", advice: "Sehen Sie gerade in die Kamera, in gutem Licht, ohne Sonnenbrille und Hut." },
    SELFIE_MANIPULATED: { fact: "Ihr Selfie sieht aus, als wäre es verändert worden.", advice: "Nehmen Sie es mit der Kamera auf, ohne Filter." },
    SELFIE_UNVERIFIED_OTHER: { fact: "Wir konnten Ihr Selfie nicht prüfen.", advice: "Sehen Sie gerade in die Kamera, in gutem Licht, ohne Sonnenbrille und Hut." },
    ID_NUMBER_INSUFFICIENT_DOCUMENT_DATA: { fact: "Ihr Ausweis zeigt zu wenig, um Ihre Nummer zu prüfen.", advice: "Nehmen Sie einen anderen Ausweis, wenn Sie einen haben." },
    ID_NUMBER_MISMATCH: { fact: "Ihre Nummer passt nicht zu Ihrem Namen und Geburtsdatum.", advice: "Sehen Sie alle drei auf Tippfehler durch." },
    ID_NUMBER_UNVERIFIED_OTHER: { fact: "Wir konnten Ihre Nummer nicht prüfen.", advice: "Sehen Sie sie auf Tippfehler durch." },
    ADDRESS_MISMATCH: { fact: "Wir haben Sie unter dieser Anschrift nicht gefunden.", advice: "Geben Sie die Anschrift an, unter der Sie gemeldet sind." },
    EMAIL_UNVERIFIED_OTHER: { fact: "Wir konnten Ihre E-Mail-Adresse nicht bestätigen.", advice: "Geben Sie den Code aus der E-Mail noch einmal ein." },
    EMAIL_VERIFICATION_DECLINED: { fact: "Sie wollten Ihre E-Mail-Adresse nicht bestätigen.", advice: "Wir brauchen sie: Geben Sie den Code ein, den wir dorthin schicken." },
    PHONE_UNVERIFIED_OTHER: { fact: "Wir konnten Ihre Telefonnummer nicht bestätigen.", advice: "Geben Sie den Code aus der Nachricht noch einmal ein." },
    PHONE_VERIFICATION_DECLINED: { fact: "Sie wollten Ihre Telefonnummer nicht bestätigen.", advice: "Wir brauchen sie: Geben Sie den Code ein, den wir dorthin schicken." },
    OTHER: { fact: "Wir konnten die Prüfung nicht abschließen." },
  },
};

export const tables = { en, de };

// choose returns the table of the first language that has one. The browser's list is the one of its Accept-Language.
export function choose(languages) {
  for (const language of languages ?? []) {
    const table = tables[language.toLowerCase().split("-")[0]];
    if (table) return { ...table, language }; // with the country, for dates
  }
  return en;
}

// wordsFor returns what the page shows for a status of /events, or for null without a session: a state (style.css has its picture),
// the step of the progress bar, texts, the text of the button if there is one, and whether the telephone number is shown. The status
// is that of the newest session. verified tells that POST /link found the person verified in an older one.
export function wordsFor(status, t, verified = false) {
  if (verified && status?.status !== "STATUS_VERIFIED") return { state: "done", step: 2, ...t.verified, fact: undefined };
  if (!status) return { state: "start", step: 0, ...t.start };
  const kind = status.resolution?.kind?.replace("RESOLUTION_KIND_", "");
  if (kind && status.status !== "STATUS_VERIFIED") return resolved(kind, t);
  switch (status.status) {
    case "STATUS_VERIFIED": {
      const time = new Date(status.updateTime).toLocaleString(t.language, { dateStyle: "long", timeStyle: "short" });
      return { state: "done", step: 2, ...t.verified, fact: { title: t.verified.fact, text: time } };
    }
    case "STATUS_REQUIRES_INPUT":
      if (!status.lastError) return { state: "document", step: 0, ...t.unsubmitted };
      return failed(status.lastError, status.retry ?? {}, t);
    case "STATUS_CANCELED":
      if (status.retry?.overrideOpen) return { state: "stop", step: 0, ...t.closed, text: t.allowed.text };
      if (status.retry?.retriesRemaining) return { state: "stop", step: 0, ...t.closed };
      return { state: "stop", step: 0, ...t.closed, button: undefined, note: t.denied.help, call: true };
    default: // processing, and statuses that Stripe adds later
      return { state: "check", step: 1, ...t.checking };
  }
}

// resolved names no operator. Every kind but VERIFIED_ELSEWHERE leaves a question that only the team can answer.
function resolved(kind, t) {
  const words = t.resolved[kind] ?? t.resolved.other;
  if (kind === "VERIFIED_ELSEWHERE") return { state: "done", step: 2, ...words };
  return { state: kind === "CLOSED" ? "stop" : "check", step: 1, ...words, call: true };
}

// failed uses Stripe's own explanation only for a code that this page does not know.
function failed(error, retry, t) {
  if (error.code === "ERROR_CODE_ABANDONED") return { state: "document", step: 0, ...t.abandoned };
  const code = t.codes[error.code?.replace("ERROR_CODE_", "")] ?? t.codes.OTHER;
  const fact = code === t.codes.OTHER && error.reason || code.fact;
  const { advice, try: again, end } = code;
  const words = { state: "problem", step: 1, title: t.failed.title, fact: { title: t.failed.fact, text: fact }, advice };
  if (retry.allowed && retry.overrideOpen) return { ...words, ...t.allowed };
  if (retry.allowed) {
    // At least one is shown: the retry that is under way can be counted already.
    const left = Math.max(1, retry.retriesRemaining ?? 0);
    return { ...words, text: t.failed.text, button: t.failed.button, note: t.failed.left(left), ...again };
  }
  if (retry.denial === "RETRY_DENIAL_COOLDOWN" && retry.nextRetryTime) {
    const time = new Date(retry.nextRetryTime).toLocaleTimeString(t.language, { hour: "2-digit", minute: "2-digit" });
    return { ...words, text: t.failed.later(time), button: t.failed.button };
  }
  const why = retry.denial === "RETRY_DENIAL_LIMIT_REACHED" ? t.denied.used : t.denied.final;
  const { help, ...last } = { title: t.denied.title, text: why, help: t.denied.help, ...end };
  return { ...words, ...last, state: "stop", advice: undefined, note: help, call: true };
}
