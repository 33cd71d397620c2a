// Package vultr is the one place that knows the Vultr API v2.
//
// It speaks in the terms of this project (Volume, Instance, LoadBalancer) and knows nothing of
// Kubernetes or CSI. What its callers may rely on:
//
//   - Errors are values: every failed call returns an error for which the Is... functions of this
//     package answer; nobody else matches texts of the API.
//   - A call that creates something is never repeated blindly. When its outcome is unknown the error
//     satisfies IsOutcomeUnknown, and SettleGuard says when a list proves that nothing was made.
//   - Reads are shared: any number of callers that wait for volumes cost one list per interval.
//     A caller is only answered from a list that began after it asked, unless it says how old an
//     answer it accepts. Only a direct GET that answers 404 proves absence.
package vultr
