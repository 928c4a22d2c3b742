// Where the console is asked: see session.js.

export const NAME = "The console";
export const API = "/console/api";

export const signingIn = (name, password) => [`${API}/session`, { json: { name, password } }];

export const signingOut = [`${API}/session`, { method: "DELETE" }];

export const refreshing = (token) => [`${API}/session/refresh`, { json: { refresh_token: token } }];
