// Package iperf3 speaks the protocol of iperf3 at both ends: the kind measures against anybody's iperf3 server, and Server
// answers anybody's iperf3 clients, several at once on one port. TCP and UDP, either direction or both, parallel streams.
//
// A test has one TCP control connection. On it the server sends states, one byte each, and both send JSON objects behind
// four bytes of length. The client opens the data streams: TCP connections to the same port that begin with the same cookie
// as the control connection, or UDP sockets that say hello. Server tells the tests of several clients apart by cookie, and
// their UDP streams by address, for which it lets one client address open streams at a time.
package iperf3
