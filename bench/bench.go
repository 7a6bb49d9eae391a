// Package bench makes signed events and sends them: a deterministic [Generator]
// of realistic events, a [Signer] that makes the request by which a courier of any
// scheme proves itself, a [Sender] that posts it, and the commands sign, send and
// bench ([Commands]).
//
// In comes who signs and where to ([Target]), out go requests to a running
// appliance's public listener. Package appliance adds the commands to its own
// and prints [CurlLine] at its first run; nobody else calls this package. It
// reaches the appliance by HTTP only, never from inside.
package bench
