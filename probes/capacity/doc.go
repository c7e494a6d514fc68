// Package capacity measures the IP-layer capacity of a path, RFC 9097: how many bits per second of UDP load, headers
// included, arrive at most. It knows two methods. "search" is the load-rate search of RFC 9097 section 8.1 and appendix A
// (type B): the sender climbs a table of rates as long as the receiver's status feedback tells of no congestion and steps
// down when it does; the capacity is the largest number of bits that arrived in a sub-interval of one second. "train" is an
// estimate for links whose data costs money: short trains of packets sent back to back, whose spreading tells the rate
// of the narrowest link, with the error that their scatter leaves.
//
// # Sessions
//
// Control messages travel on the plain TCP port behind the preamble Preamble: two bytes of length, big endian, then a JSON
// object with exactly one key that names the message. Load and status feedback travel in UDP datagrams between sockets
// that both ends open for the session alone.
//
//	client                                far end
//	TCP: preamble, {"open":...}      -->
//	                                 <--  TCP: {"accepted":{"token":...,"port":...}} or {"refused":...}
//	UDP: hello with the token        -->  each tenth of a second until it is answered
//	                                 <--  UDP: challenge with a cookie, smaller than the hello
//	UDP: confirm with the cookie     -->  proves that the client reads what is sent to this address
//	                                 <--  TCP: {"start":{}}
//	TCP: {"go":{}}                   -->  when the far end sends the load
//	UDP: load                        <->  one way
//	UDP: feedback                    <->  the other way, each 50 ms
//	TCP: {"done":...}                <->  from the sender, when it has sent all
//	                                 <--  TCP: {"report":...} while the far end receives, and a final one
//
// The far end sends no load before the address is proven and answers a datagram without the right token with nothing. A
// sender without feedback and a receiver without load give up after a second (RFC 9097 section 8.1), the connection's end
// ends the session at once: a client that vanished holds nothing. None of this is congestion control: it is a diagnostic
// load for the time of a test.
package capacity
