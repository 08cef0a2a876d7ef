import { Status, UnavailableError, type Client } from "@verification-status/client";

/** greet is the program of greet.test.ts. */
export async function greet(client: Client, user: string): Promise<string> {
  try {
    const { status } = await client.status({ reference: user });
    return status === Status.VERIFIED ? "Welcome back!" : "One moment, please.";
  } catch (error) {
    if (error instanceof UnavailableError) return "We cannot look that up now.";
    throw error;
  }
}
