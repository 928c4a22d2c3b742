// Where the gateway is asked for a session: see session.js.

export const NAME = "The gateway";

export const signingIn = (name, password) => ["/v1/sessions", { json: { name, password } }];

export const signingOut = ["/v1/sessions/current", { method: "DELETE" }];

export const refreshing = (token) => [
  "/oauth/token",
  { body: new URLSearchParams({ grant_type: "refresh_token", refresh_token: token }) },
];

export const registering = (name, password) => ["/v1/users", { json: { name, password } }];
