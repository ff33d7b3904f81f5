package admin

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-relay/weft/pipeline"
	"github.com/weft-relay/weft/transports"
)

// collector turns the status into metrics when it is asked, so that counting costs the messages nothing more.
type collector struct{ status func() pipeline.Status }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weft_"+name, help, labels, nil)
}

var (
	up         = desc("up", "1 when the broker or the transport is connected and moves.", "part")
	reconnects = desc("reconnects_total", "Connections made after the first.", "part")
	wireOut    = desc("wire_out_bytes_total", "Payload bytes handed to the broker or the network.", "part")
	wireIn     = desc("wire_in_bytes_total", "Payload bytes taken from the broker or the network.", "part")
	postsUsed  = desc("posts_used", "What the transport has sent of what its network lets it send.", "part")
	postsLeft  = desc("posts_left", "What the transport may send now, at least.", "part")
	postsExact = desc("posts_exact", "1 when the transport may send no more than posts_left; 0 while it is not known how much more.", "part")
	postRefill = desc("post_refill_seconds", "How long it takes until the transport may send once more, on average; 0 while that is not known.", "part")
	dropped    = desc("dropped_messages_total", "Messages that the broker or the transport did not pass on.", "part", "reason")

	taken     = desc("taken_messages_total", "Messages read from the broker.")
	storing   = desc("storing", "0 while what comes from the broker cannot be stored.")
	unwanted  = desc("unwanted_messages_total", "Of them, messages that no peer has asked for.")
	dead      = desc("dead_letters_total", "Messages moved to $weft/dead.")
	delivered = desc("delivered_messages_total", "Messages from peers that the broker has taken.")
	refused   = desc("refused_total", "Frames and messages from transports that were refused.", "reason")

	laneDepth   = desc("lane_depth", "Messages queued or in flight.", "lane")
	laneBytes   = desc("lane_bytes", "Bytes queued or in flight.", "lane")
	laneOldest  = desc("lane_oldest_timestamp_seconds", "Unix time of the oldest message queued or in flight; 0 if there is none.", "lane")
	laneIn      = desc("lane_in_messages_total", "Messages that came to the lane since its store was made.", "lane")
	laneOut     = desc("lane_delivered_messages_total", "Messages delivered since the lane's store was made.", "lane")
	laneDropped = desc("lane_dropped_messages_total", "Messages dropped since the lane's store was made.", "lane", "reason")
	laneWaiting = desc("lane_waiting", "1 while the last attempt to deliver has failed.", "lane")
	laneFrames  = desc("lane_frames_total", "Frames published.", "lane")
	laneSent    = desc("lane_sent_bytes_total", "Bytes of the frames published.", "lane")

	pluginUp       = desc("plugin_up", "1 while the plugin's program runs.", "plugin")
	pluginRestarts = desc("plugin_restarts_total", "How often the plugin's program was started again.", "plugin")
	pluginMemory   = desc("plugin_memory_bytes", "Memory of the plugin's program and its children.", "plugin")
	pluginSkipped  = desc("plugin_skipped_lines_total", "Lines of the program's output that were too many to be logged.", "plugin")
)

// Describe implements prometheus.Collector. Nothing is described: labels come and go with the configuration.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	part := func(name string, r transports.Report) {
		ch <- gauge(up, boolean(r.State == transports.Up), name)
		count(reconnects, r.Reconnects, name)
		count(wireOut, r.BytesOut, name)
		count(wireIn, r.BytesIn, name)
		for reason, n := range r.Dropped {
			count(dropped, n, name, reason)
		}
		if p := r.Posts; p != nil {
			ch <- gauge(postsUsed, float64(p.Used), name)
			ch <- gauge(postsLeft, float64(p.Left), name)
			ch <- gauge(postsExact, boolean(p.Exact), name)
			ch <- gauge(postRefill, p.Refill.Seconds(), name)
		}
	}
	for _, p := range s.Plugins {
		ch <- gauge(pluginUp, boolean(p.State == "running"), p.Name)
		ch <- gauge(pluginMemory, float64(p.Memory), p.Name)
		count(pluginRestarts, p.Restarts, p.Name)
		count(pluginSkipped, p.LinesSkipped, p.Name)
	}
	part("broker", s.Broker)
	for name, t := range s.Transports {
		part(name, t)
		for _, m := range t.Metrics {
			collectOwn(ch, name, m)
		}
	}
	count(taken, s.Outgoing.Taken)
	ch <- gauge(storing, boolean(s.Outgoing.Unstored == ""))
	count(unwanted, s.Outgoing.Unwanted)
	count(dead, s.Outgoing.DeadLetters)
	count(delivered, s.Incoming.Delivered)
	for reason, n := range s.Incoming.Refused {
		count(refused, n, reason)
	}
	for i := range s.Lanes {
		collectLane(ch, count, &s.Lanes[i])
	}
}

// collectOwn turns a figure that only some transports have into metrics, one for each value of its label.
func collectOwn(ch chan<- prometheus.Metric, transport string, m transports.Metric) {
	labels, kind := []string{"transport"}, prometheus.GaugeValue
	if m.Label != "" {
		labels = append(labels, m.Label)
	}
	if m.Counter {
		kind = prometheus.CounterValue
	}
	d := desc("transport_"+m.Name, m.Help, labels...)
	for of, v := range m.Of {
		values := []string{transport, strings.ToValidUTF8(of, "?")}
		metric, err := prometheus.NewConstMetric(d, kind, v, values[:len(labels)]...)
		if err != nil {
			metric = prometheus.NewInvalidMetric(d, err)
		}
		ch <- metric
	}
}

func collectLane(ch chan<- prometheus.Metric, count func(*prometheus.Desc, uint64, ...string), l *pipeline.LaneStatus) {
	var oldest float64
	if !l.Oldest.IsZero() {
		oldest = float64(l.Oldest.UnixMilli()) / 1000
	}
	ch <- gauge(laneDepth, float64(l.Depth), l.Name)
	ch <- gauge(laneBytes, float64(l.Bytes), l.Name)
	ch <- gauge(laneOldest, oldest, l.Name)
	ch <- gauge(laneWaiting, boolean(l.State == "waiting"), l.Name)
	count(laneIn, l.In, l.Name)
	count(laneOut, l.Delivered, l.Name)
	count(laneFrames, l.Frames, l.Name)
	count(laneSent, l.SentBytes, l.Name)
	for reason, n := range l.Dropped {
		count(laneDropped, n, l.Name, reason)
	}
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
