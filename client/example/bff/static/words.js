// What a status means, in words for the person: a state (style.css knows its picture), the step of the
// progress bar, texts, and the button's text where there is something to do.

const advice = {
  ERROR_CATEGORY_DOCUMENT: "Use a valid document, in good light, with all four corners in the picture.",
  ERROR_CATEGORY_SELFIE: "Look straight into the camera, in good light, without sunglasses or a hat.",
  ERROR_CATEGORY_ID_NUMBER: "Check your name, date of birth and number for typing errors.",
  ERROR_CATEGORY_ADDRESS: "Enter the address at which you are registered.",
  ERROR_CATEGORY_EMAIL: "Enter the code from the e-mail once more.",
  ERROR_CATEGORY_PHONE: "Enter the code from the message once more.",
};

// refusals are the problems that POST /link names.
export const refusals = {
  UNAVAILABLE: "That did not work. Please try again in a moment.",
  SIGNED_OUT: "You are signed out. Load this page again.",
  PROCESSING: "Your last try is still being checked.",
  ALREADY_VERIFIED: "You are verified already.",
  REDACTED: "Your data was erased. Start over.",
  LIMIT_REACHED: "You have no tries left.",
  NOT_RETRYABLE: "Trying again would not help here.",
  COOLDOWN: "It is too early for another try.",
};

// wordsFor takes a status as /events sends it, or null where nothing has begun.
export function wordsFor(status) {
  if (!status) {
    return {
      state: "start", step: 0, title: "Verify your identity", button: "Start verification",
      text: "Before we open your account, we need to know that you are you. Have at hand:",
      note: "You go to a secure page and come back here afterwards.",
    };
  }
  switch (status.status) {
    case "STATUS_VERIFIED":
      return {
        state: "done", step: 2, title: "You’re verified", text: "Thank you – that was all. Your account is ready.",
        fact: { title: "Verified", text: new Date(status.updateTime).toLocaleString([], { dateStyle: "long", timeStyle: "short" }) },
        note: "You can close this page.",
      };
    case "STATUS_REQUIRES_INPUT":
      return status.lastError ? failed(status.lastError, status.retry ?? {}) : {
        state: "document", step: 0, title: "Go on where you left off", button: "Continue",
        text: "You have not submitted your document yet. It takes about two minutes.",
      };
    case "STATUS_CANCELED":
      return {
        state: "stop", step: 0, title: "This check was closed", text: "It was ended before it was complete.",
        button: status.retry?.retriesRemaining ? "Start a new one" : undefined,
        note: status.retry?.retriesRemaining ? undefined : help,
      };
    default: // processing, and whatever Stripe may add
      return {
        state: "check", step: 1, title: "We’re checking your document", text: "This takes a few minutes at the most.",
        note: "You can leave this page open, or come back later: nothing gets lost.",
      };
  }
}

const help = "Our team can help you in another way: call 0800 555 0142.";

function failed(error, retry) {
  if (error.code === "ERROR_CODE_ABANDONED") {
    return {
      state: "document", step: 0, title: "Go on where you left off", button: "Continue",
      text: "You closed the page before you had submitted anything. That costs no try.",
    };
  }
  const words = {
    state: "problem", step: 1, title: "That didn’t work",
    fact: { title: "What went wrong", text: error.reason || "The check could not be completed." },
  };
  if (retry.allowed) {
    // Never more than there is: the try that is under way may be counted already.
    const left = Math.max(1, retry.retriesRemaining ?? 0);
    return {
      ...words, text: "It happens, and you can try again.", advice: advice[error.category], button: "Try again",
      note: left === 1 ? "You have one try left." : `You have ${left} tries left.`,
    };
  }
  if (retry.denial === "RETRY_DENIAL_COOLDOWN" && retry.nextRetryTime) {
    const time = new Date(retry.nextRetryTime).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    return { ...words, text: `You can try again from ${time} on.`, advice: advice[error.category], button: "Try again" };
  }
  return {
    ...words, state: "stop", title: "We couldn’t verify you", note: help,
    text: retry.denial === "RETRY_DENIAL_LIMIT_REACHED" ? "You have used all your tries." : "Trying again would not help here.",
  };
}
