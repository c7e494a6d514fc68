// Package throughput measures how fast data moves: over TCP or QUIC, up, down or both at once, with any number of streams.
// What the receiver counted is the truth; what a sender wrote never is.
//
// # TCP sessions
//
// A client opens one control connection and the data connections it wants, all on the plain TCP port, each beginning with
// the preamble farend.PreambleGoodput. What follows is frames: two bytes of length, big endian, then a JSON object with
// exactly one key that names the message.
//
//	client                                  far end
//	control: preamble, {"open":...}   --->
//	                                  <---  {"accepted":{"session":...}} or {"refused":...}
//	data 1..N: preamble, {"data":...} --->  each says which session it belongs to and which way its bytes go
//	                                  <---  control: {"start":{}} when all of them are there
//	data: bytes without end           <-->  as fast as they go
//	                                  <---  control: {"report":...} each interval: what the far end received and sent
//	control: {"alive":{}} each second --->
//	control: {"stop":...}             --->
//	                                  <---  control: {"report":{"final":true,...}}
//
// A session in which nothing arrives for five seconds is over, for the client as for the far end, which ends it too when the
// time or the bytes that were agreed on are used up: a client that vanished holds nothing.
//
// # QUIC sessions
//
// Streams follow draft-banks-quic-performance: eight bytes say how many bytes are to come back, then come the bytes to be
// discarded. Under the ALPN protocol "perf" that is all. Under our own, ALPNLoad, the first stream that the client opens
// carries the control messages above, without data messages, so that the far end can say what it counted, which the draft
// has no way to; the other streams are those of the draft. The client asks for ALPNLoad and takes "perf" where that is not
// spoken; an upload is then known by what was sent, and the info "counted_by" says so.
package throughput
