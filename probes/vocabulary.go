package probes

// The vocabulary. A metric is added here first, with its source; only then can a kind observe it.
// Doc comments give what Help leaves out.
var (
	// RTT is T4−T1 less the time the packet rested at the far end (T3−T2) where that is known.
	RTT = &Metric{
		Stem: "rtt", Unit: Seconds, Name: "rtt_seconds", Type: Distribution,
		Help: "Round-trip time of received packets, without the time they rested at the far end.", Source: "RFC 2681",
	}
	// WakeUp is the round trip of the first packet after an idle time, which is then none of RTT.
	WakeUp = &Metric{
		Stem: "wake_up", Unit: Seconds, Name: "wake_up_seconds", Type: Distribution,
		Help: "Round-trip time of the first packet after an idle time, as it wakes the radio up.", Source: "3GPP TS 38.331 section 5.3, seen from the application",
	}
	// StreamRTT is that of a reliable stream: what is lost is sent again, and shows as a late answer.
	StreamRTT = &Metric{
		Stem: "stream_rtt", Unit: Seconds, Name: "stream_rtt_seconds", Type: Distribution,
		Help: "Round-trip time of some bytes on a stream of a QUIC connection, the time to send lost ones again included.", Source: "RFC 9000 section 2",
	}
	// OneWayDelay is published only with OWDErrorBound beside it, and only while the bound is below the value.
	OneWayDelay = &Metric{
		Stem: "owd", Unit: Seconds, Name: "one_way_delay_seconds", Type: Distribution, Directed: true,
		Help: "One-way delay of received packets, by the estimated or synchronised clock offset.", Source: "RFC 7679",
	}
	// OWDErrorBound is the half-width of the interval in which the true one-way delay lies.
	OWDErrorBound = &Metric{
		Stem: "owd_error", Unit: Seconds, Name: "one_way_delay_error_seconds", Type: Gauge,
		Help: "Bound of the error of the one-way delays of the same result.", Source: "RFC 7679 section 3.7",
	}
	// ClockOffset is far clock minus own clock, halfway between the least and the most that the shortest delays of either way
	// allow for, those of the last minutes included. It is off by no more than OWDErrorBound.
	ClockOffset = &Metric{
		Stem: "clock_offset", Unit: Seconds, Name: "clock_offset_seconds", Type: Gauge,
		Help: "Offset of the far end's clock against the own one, by the shortest delays of either way in the last minutes.", Source: "RFC 5905 section 8",
	}
	// DelayVariation is D(i) − min(D) over one Result (PDV). Clock offset cancels.
	DelayVariation = &Metric{
		Stem: "pdv", Unit: Seconds, Name: "delay_variation_seconds", Type: Distribution, Directed: true,
		Help: "Packet delay variation: one-way delay above the smallest of the same result.", Source: "RFC 5481 section 4.2",
	}
	// InterpacketVariation is |D(i) − D(i−1)| of consecutively sent packets that both arrived.
	InterpacketVariation = &Metric{
		Stem: "ipdv", Unit: Seconds, Name: "interpacket_delay_variation_seconds", Type: Distribution, Directed: true,
		Help: "Absolute difference of the delays of two packets sent one after the other.", Source: "RFC 3393",
	}
	// FarResidence is T3−T2.
	FarResidence = &Metric{
		Stem: "residence", Unit: Seconds, Name: "far_end_residence_seconds", Type: Distribution,
		Help: "Time that packets rested at the far end before the reply left.", Source: "RFC 8762 section 4.3",
	}
	// ScheduleError is how much later than planned a packet left. It tells of the instrument, not of the network.
	ScheduleError = &Metric{
		Stem: "schedule_error", Unit: Seconds, Name: "schedule_error_seconds", Type: Distribution,
		Help: "How much later than planned packets were sent.", Source: "nrprobe",
	}

	// PacketsSent counts what the own kernel accepted.
	PacketsSent = &Metric{
		Stem: "packets_sent", Name: "packets_sent", Type: Counter,
		Help: "Packets sent.", Source: "RFC 7680",
	}
	// PacketsReceived counts unique packets, duplicates apart.
	PacketsReceived = &Metric{
		Stem: "packets_received", Name: "packets_received", Type: Counter,
		Help: "Packets received, each counted once.", Source: "RFC 7680",
	}
	// PacketsLost is the round-trip loss; Up and Down are the part whose direction is known. Up + Down ≤ Both.
	PacketsLost = &Metric{
		Stem: "packets_lost", Name: "packets_lost", Type: Counter, Directed: true,
		Help: "Packets that did not arrive in time, by direction where it is known.", Source: "RFC 6673, RFC 7680",
	}
	// PacketsLate arrived after the timeout and before the end of accounting; they are not lost.
	PacketsLate = &Metric{
		Stem: "packets_late", Name: "packets_late", Type: Counter,
		Help: "Packets that arrived after the timeout.", Source: "RFC 6673",
	}
	// PacketsRecovered were counted as lost in an earlier Result and arrived after all. Over successive Results,
	// sent = received + lost − recovered.
	PacketsRecovered = &Metric{
		Stem: "packets_recovered", Name: "packets_recovered", Type: Counter, Directed: true,
		Help: "Packets that arrived after an earlier result had counted them as lost.", Source: "RFC 6673",
	}
	// PacketsDuplicated counts extra copies; Up and Down where the far end's own numbers tell them apart.
	PacketsDuplicated = &Metric{
		Stem: "packets_duplicated", Name: "packets_duplicated", Type: Counter, Directed: true,
		Help: "Extra copies of packets received.", Source: "RFC 5560",
	}
	// PacketsReordered counts packets whose sequence number is below one that arrived before; Up and Down judge each way
	// by itself.
	PacketsReordered = &Metric{
		Stem: "packets_reordered", Name: "packets_reordered", Type: Counter, Directed: true,
		Help: "Packets received after a packet that was sent later.", Source: "RFC 4737",
	}
	// Jitter is the smoothed mean of |D(i) − D(i−1)|, each weighing 1/16: what iperf3 and RTP report. It hides bursts.
	Jitter = &Metric{
		Stem: "jitter", Unit: Seconds, Name: "jitter_seconds", Type: Gauge, Directed: true,
		Help: "Interarrival jitter at the end of a result: a smoothed mean of delay differences.", Source: "RFC 3550 section 6.4.1",
	}
	// ReorderExtent is a number of packets, one value for each reordered packet: how many would have to be kept to put it
	// back in order.
	ReorderExtent = &Metric{
		Stem: "reorder_extent", Name: "reorder_extent_packets", Type: Distribution,
		Help: "How many arrivals a reordered packet came behind the first one that was sent later.", Source: "RFC 4737 section 4.2",
	}
	// PacketsRefused never left the device, so they are no network loss.
	PacketsRefused = &Metric{
		Stem: "packets_refused", Name: "packets_refused", Type: Counter,
		Help: "Packets that the own kernel refused to send.", Source: "nrprobe",
	}
	// PacketsSkipped are slots of the schedule that passed before the instrument could send. They tell of it alone.
	PacketsSkipped = &Metric{
		Stem: "packets_skipped", Name: "packets_skipped", Type: Counter,
		Help: "Packets not sent because their time had passed already.", Source: "nrprobe",
	}
	// CongestionMarked counts packets that arrived with the ECN codepoint CE.
	CongestionMarked = &Metric{
		Stem: "packets_congestion_marked", Name: "packets_congestion_marked", Type: Counter, Directed: true,
		Help: "Packets that a router marked for congestion instead of dropping them.", Source: "RFC 3168 section 5",
	}
	// LossRatio is lost / sent of one Result, in [0, 1].
	LossRatio = &Metric{
		Stem: "loss", Unit: Ratio, Name: "loss_ratio", Type: Gauge,
		Help: "Share of the packets of a result that were lost.", Source: "RFC 6673",
	}
	// LossBurst is a number of packets, one value for each row of losses.
	LossBurst = &Metric{
		Stem: "loss_burst", Name: "loss_burst_packets", Type: Distribution,
		Help: "Length of rows of packets that were all lost.", Source: "RFC 3357",
	}
	// FramesSent, FramesLost, FramesLate and FramesInTime judge the frames of an application's traffic pattern, one packet or
	// several each. Both is the round trip; Up counts frames that carry something up, Down those that arrived there and
	// carry something down. A frame is lost when a packet of it is, or when the last one came after the deadline; FramesLate
	// is the latter part of FramesLost. FramesInTime is (sent − lost) / sent, in [0, 1].
	FramesSent = &Metric{
		Stem: "frames_sent", Name: "frames_sent", Type: Counter, Directed: true,
		Help: "Frames of a traffic pattern that were sent in full.", Source: "in the style of ITU-T G.1051",
	}
	FramesLost = &Metric{
		Stem: "frames_lost", Name: "frames_lost", Type: Counter, Directed: true,
		Help: "Frames of a traffic pattern that did not arrive in full before their deadline.", Source: "in the style of ITU-T G.1051",
	}
	FramesLate = &Metric{
		Stem: "frames_late", Name: "frames_late", Type: Counter, Directed: true,
		Help: "Frames among the lost ones that arrived in full, but after their deadline.", Source: "in the style of ITU-T G.1051",
	}
	FramesInTime = &Metric{
		Stem: "frames_in_time", Unit: Ratio, Name: "frames_in_time_ratio", Type: Gauge, Directed: true,
		Help: "Share of the frames of a traffic pattern that arrived in full before their deadline.", Source: "in the style of ITU-T G.1051",
	}

	// PathMTU is searched by probing with Don't Fragment set. Both is the smaller of the two directions.
	PathMTU = &Metric{
		Stem: "path_mtu", Unit: BytesUnit, Name: "path_mtu_bytes", Type: Gauge, Directed: true,
		Help: "Largest IP packet, headers included, that passes without fragments.", Source: "RFC 8899",
	}
	// Interruption is the longest time between two packets that both arrived, less the spacing that was planned and less the
	// time before the second in which the instrument sent nothing.
	Interruption = &Metric{
		Stem: "interruption_max", Unit: Seconds, Name: "interruption_seconds", Type: Gauge,
		Help: "Longest interruption of the packet stream in a result; resolution is the packet interval.", Source: "3GPP TS 38.133 handover interruption, seen from the application",
	}

	// ResolveTime, ConnectTime, HandshakeTime, ResumedTime and FirstByteTime are the phases of a connection.
	ResolveTime = &Metric{
		Stem: "resolve", Unit: Seconds, Name: "resolve_seconds", Type: Distribution, Plain: true,
		Help: "Time to resolve the target's name.", Source: "nrprobe",
	}
	ConnectTime = &Metric{
		Stem: "connect", Unit: Seconds, Name: "connect_seconds", Type: Distribution, Plain: true,
		Help: "Time from SYN to established connection, without name resolution.", Source: "RFC 9293 section 3.5",
	}
	HandshakeTime = &Metric{
		Stem: "handshake", Unit: Seconds, Name: "handshake_seconds", Type: Distribution, Plain: true,
		Help: "Time of a full cryptographic handshake: TLS after connect, or QUIC from the first packet.", Source: "RFC 8446, RFC 9001",
	}
	ResumedTime = &Metric{
		Stem: "resumed", Unit: Seconds, Name: "resumed_seconds", Type: Distribution, Plain: true,
		Help: "Time from the first packet of a resumed connection to the first reply to 0-RTT data.", Source: "RFC 9001 section 4.6",
	}
	FirstByteTime = &Metric{
		Stem: "ttfb", Unit: Seconds, Name: "first_byte_seconds", Type: Distribution, Plain: true,
		Help: "Time from request to first byte of the response.", Source: "nrprobe",
	}
	// TransferTime ends earlier where only a part of the body is wanted.
	TransferTime = &Metric{
		Stem: "transfer", Unit: Seconds, Name: "transfer_seconds", Type: Distribution, Plain: true,
		Help: "Time from first to last byte of the response.", Source: "nrprobe",
	}
	// PathValidation is one round trip over the new path, more where a packet of it was lost.
	PathValidation = &Metric{
		Stem: "path_validation", Unit: Seconds, Name: "path_validation_seconds", Type: Gauge,
		Help: "Time from the first packet on a new path to its validation, before a connection migrates to it.", Source: "RFC 9000 section 8.2",
	}
	// MigrationGap ends with the first answer to what was sent over the new path; the spacing that was planned is not part of
	// it. A path that is slower than the former one makes it at least as long as the difference of their round trips.
	MigrationGap = &Metric{
		Stem: "migration_gap", Unit: Seconds, Name: "migration_gap_seconds", Type: Gauge,
		Help: "Longest time without an answer while a connection migrated to another path.", Source: "RFC 9000 section 9, seen from the application",
	}
	// RTTBefore and RTTAfter are parts of RTT. A packet belongs to the path that it was sent over.
	RTTBefore = &Metric{
		Stem: "rtt_before", Unit: Seconds, Name: "rtt_before_migration_seconds", Type: Distribution,
		Help: "Round-trip time of packets that were sent before their connection migrated to another path.", Source: "RFC 2681",
	}
	RTTAfter = &Metric{
		Stem: "rtt_after", Unit: Seconds, Name: "rtt_after_migration_seconds", Type: Distribution,
		Help: "Round-trip time of packets that were sent after their connection had migrated to another path.", Source: "RFC 2681",
	}
	// AnswerTime includes what the server needs to find the answer. The connection, where there is one, stands already.
	AnswerTime = &Metric{
		Stem: "answer", Unit: Seconds, Name: "answer_seconds", Type: Distribution, Plain: true,
		Help: "Time from a query to the whole answer.", Source: "RFC 8912 section 6",
	}

	// Goodput is what the receiver counted, above transport headers.
	Goodput = &Metric{
		Stem: "goodput", Unit: BytesPerSecond, Name: "goodput_bytes_per_second", Type: Gauge, Directed: true,
		Help: "Application bytes that the receiver counted per second.", Source: "RFC 6349 section 3, RFC 2647 section 3.17",
	}
	// IPCapacity is the most IP-layer bytes, headers included, that arrived in one sub-interval of a second, per second.
	IPCapacity = &Metric{
		Stem: "ip_capacity", Unit: BytesPerSecond, Name: "ip_capacity_bytes_per_second", Type: Gauge, Directed: true,
		Help: "Maximum IP-layer capacity: bytes with their IP headers that arrived per second, in the best second of a test.", Source: "RFC 9097 section 5.3",
	}
	// IPCapacityError is what the capacity of packet trains is published with: the half-width of its 95 % confidence interval.
	IPCapacityError = &Metric{
		Stem: "ip_capacity_error", Unit: BytesPerSecond, Name: "ip_capacity_error_bytes_per_second", Type: Gauge, Directed: true,
		Help: "Error of an IP-layer capacity estimated from packet trains: half of its 95 % confidence interval.", Source: "nrprobe",
	}
	// Transferred counts application bytes at the receiver.
	Transferred = &Metric{
		Stem: "transferred", Unit: BytesUnit, Name: "transferred_bytes", Type: Counter, Directed: true,
		Help: "Application bytes that the receiver counted.", Source: "RFC 2647 section 3.17",
	}
	// IntervalRate is goodput seen through intervals of a fraction of a second: how evenly data moves.
	IntervalRate = &Metric{
		Stem: "interval_rate", Unit: BytesPerSecond, Name: "interval_rate_bytes_per_second", Type: Distribution, Directed: true,
		Help: "Application bytes per second that the receiver counted in each short interval behind the ramp.", Source: "RFC 6349 section 3",
	}
	// Ramp is what Goodput and IntervalRate leave out.
	Ramp = &Metric{
		Stem: "ramp", Unit: Seconds, Name: "ramp_seconds", Type: Gauge, Directed: true,
		Help: "Time at the start of a load test that its goodput leaves out.", Source: "nrprobe",
	}
	// TCPEfficiency is (bytes sent − bytes sent again) / bytes sent, by the sending kernel's count.
	TCPEfficiency = &Metric{
		Stem: "tcp_efficiency", Unit: Ratio, Name: "tcp_efficiency_ratio", Type: Gauge, Directed: true,
		Help: "Share of the bytes sent over TCP that were not sent again.", Source: "RFC 6349 section 4.2",
	}
	// TransferTimeRatio needs to be told the path's capacity. The ideal has all of it from the first byte on, with full segments.
	TransferTimeRatio = &Metric{
		Stem: "tcp_transfer_time", Unit: Ratio, Name: "tcp_transfer_time_ratio", Type: Gauge, Directed: true,
		Help: "Time that a transfer over TCP took, ramp included, over the time it would take at the capacity of the path.", Source: "RFC 6349 section 4.1",
	}
	// BufferDelay is mean RTT during the transfer − smallest RTT. RFC 6349 gives it as a share of the smallest RTT.
	BufferDelay = &Metric{
		Stem: "buffer_delay", Unit: Seconds, Name: "buffer_delay_seconds", Type: Gauge, Directed: true,
		Help: "Mean increase of TCP's round-trip time during a transfer over its smallest value.", Source: "RFC 6349 section 4.3",
	}
	// Retransmitted counts TCP segments as the sending kernel does.
	Retransmitted = &Metric{
		Stem: "retransmitted_segments", Name: "retransmitted_segments", Type: Counter,
		Help: "TCP segments sent again.", Source: "RFC 6349 section 4.2",
	}

	// TransportRTT, TransportLost and CongestionWindow are the transport's own view, beside what was measured.
	TransportRTT = &Metric{
		Stem: "transport_rtt", Unit: Seconds, Name: "transport_rtt_seconds", Type: Gauge,
		Help: "Smoothed round-trip time as the transport protocol itself estimates it.", Source: "RFC 6298, RFC 9002 section 5",
	}
	TransportMinRTT = &Metric{
		Stem: "transport_min_rtt", Unit: Seconds, Name: "transport_min_rtt_seconds", Type: Gauge,
		Help: "Smallest round-trip time that the transport protocol itself saw.", Source: "RFC 9002 section 5.2",
	}
	TransportLost = &Metric{
		Stem: "transport_packets_lost", Name: "transport_packets_lost", Type: Counter,
		Help: "Packets that the transport protocol declared lost.", Source: "RFC 9002 section 6",
	}
	CongestionWindow = &Metric{
		Stem: "congestion_window", Unit: BytesUnit, Name: "congestion_window_bytes", Type: Gauge,
		Help: "Congestion window at the end of the result.", Source: "RFC 5681, RFC 9002 section 7",
	}

	// Responsiveness is round trips per minute under working conditions.
	Responsiveness = &Metric{
		Stem: "responsiveness", Unit: RPM, Name: "responsiveness_rpm", Type: Gauge,
		Help: "Round trips per minute under working conditions.", Source: "draft-ietf-ippm-responsiveness",
	}

	// ForeignResponsiveness and LoadedResponsiveness are the two halves that Responsiveness is the mean of.
	ForeignResponsiveness = &Metric{
		Stem: "responsiveness_foreign", Unit: RPM, Name: "responsiveness_foreign_rpm", Type: Gauge,
		Help: "Round trips per minute of new connections while others load the link.", Source: "draft-ietf-ippm-responsiveness",
	}
	LoadedResponsiveness = &Metric{
		Stem: "responsiveness_loaded", Unit: RPM, Name: "responsiveness_loaded_rpm", Type: Gauge,
		Help: "Round trips per minute on connections that load the link themselves.", Source: "draft-ietf-ippm-responsiveness",
	}
	// LoadedLatency is the draft's http_l.
	LoadedLatency = &Metric{
		Stem: "loaded_latency", Unit: Seconds, Name: "loaded_latency_seconds", Type: Distribution, Plain: true,
		Help: "Time of a request for one byte on a connection that loads the link.", Source: "draft-ietf-ippm-responsiveness",
	}

	// RSRP, RSRQ, SINR and Speed describe the radio and the movement while a Result was measured.
	RSRP = &Metric{
		Stem: "radio_rsrp", Unit: DBm, Name: "radio_rsrp_dbm", Type: Gauge,
		Help: "Reference signal received power (SS-RSRP in NR) of the serving cell.", Source: "3GPP TS 38.215 section 5.1.1",
	}
	RSRQ = &Metric{
		Stem: "radio_rsrq", Unit: DB, Name: "radio_rsrq_db", Type: Gauge,
		Help: "Reference signal received quality (SS-RSRQ in NR) of the serving cell.", Source: "3GPP TS 38.215 section 5.1.3",
	}
	SINR = &Metric{
		Stem: "radio_sinr", Unit: DB, Name: "radio_sinr_db", Type: Gauge,
		Help: "Signal to interference and noise ratio (SS-SINR in NR) of the serving cell.", Source: "3GPP TS 38.215 section 5.1.5",
	}
	Speed = &Metric{
		Stem: "speed", Unit: MetresPerSec, Name: "speed_metres_per_second", Type: Gauge,
		Help: "Speed over ground of the device.", Source: "nrprobe",
	}
)

// Vocabulary lists every metric, in the order of the reference in the README.
func Vocabulary() []*Metric {
	return []*Metric{
		RTT, WakeUp, StreamRTT, OneWayDelay, OWDErrorBound, ClockOffset, DelayVariation, InterpacketVariation, FarResidence, ScheduleError,
		PacketsSent, PacketsReceived, PacketsLost, PacketsLate, PacketsRecovered, PacketsDuplicated, PacketsReordered, ReorderExtent, Jitter,
		PacketsRefused, PacketsSkipped, CongestionMarked,
		LossRatio, LossBurst, FramesSent, FramesLost, FramesLate, FramesInTime, Interruption, PathMTU,
		ResolveTime, ConnectTime, HandshakeTime, ResumedTime, FirstByteTime, TransferTime, AnswerTime,
		PathValidation, MigrationGap, RTTBefore, RTTAfter,
		Goodput, IntervalRate, Ramp, IPCapacity, IPCapacityError, Transferred, Retransmitted, TCPEfficiency, TransferTimeRatio, BufferDelay,
		TransportRTT, TransportMinRTT, TransportLost, CongestionWindow,
		Responsiveness, ForeignResponsiveness, LoadedResponsiveness, LoadedLatency,
		RSRP, RSRQ, SINR, Speed,
	}
}
