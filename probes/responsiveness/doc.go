// Package responsiveness measures round trips per minute under working conditions, by draft-ietf-ippm-responsiveness-09,
// over HTTP/2 and HTTP/3, and serves what such measurements need, other people's clients included: the configuration at
// /.well-known/nq, a response of one byte, a response without end, and a place to upload to.
//
// Load-generating connections fill the link, more of them each interval, until the rate grows no more. Meanwhile probes ask
// for one byte, by turns on a new connection (foreign) and on one of those that carry load (self). What they take, in the
// mean of the fastest 95 %, is turned into round trips per minute. Where the draft leaves open how HTTP/3 is to be counted,
// its handshake, which is transport and TLS at once, stands for that of TLS, and TCP's is left out.
package responsiveness
