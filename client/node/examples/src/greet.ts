import { DeadlineExceededError, Status, UnavailableError, type Client } from "@verification-status/client";

export async function greet(client: Client, user: string): Promise<string> {
  try {
    const { status, lastError, retry } = await client.status({ reference: user }, { timeout: 2_000 });
    if (status === Status.VERIFIED) return "Welcome back!";
    return lastError ? `${lastError.reason} ${retry?.allowed ? "Please try again." : "Please call us."}` : "One moment, please.";
  } catch (error) {
    if (error instanceof UnavailableError || error instanceof DeadlineExceededError) return "We cannot look that up now.";
    throw error;
  }
}
