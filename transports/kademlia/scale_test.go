package kademlia_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports"
	"github.com/weft-relay/weft/transports/kademlia"
)

// crowdSizes returns how many nodes to simulate: WEFT_MESH_NODES, such as "10 50 200", or few, so that benchmarks stay quick.
func crowdSizes(b *testing.B) (sizes []int) {
	text := os.Getenv("WEFT_MESH_NODES")
	if text == "" {
		text = "10"
	}
	for word := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 8 {
			b.Fatalf("WEFT_MESH_NODES: %q is not a number of nodes of 8 or more", word)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// restTime returns how long nodes are watched while nothing happens: WEFT_MESH_REST.
func restTime(b *testing.B) time.Duration {
	rest, err := time.ParseDuration(os.Getenv("WEFT_MESH_REST"))
	if os.Getenv("WEFT_MESH_REST") == "" {
		return 5 * time.Second
	}
	require.NoError(b, err)
	return rest
}

// crowd is a mesh of many nodes in this process.
type crowd struct {
	b     *testing.B
	dir   string
	entry string // address of node 0, by which all others come
	lists func(i int) []int
	nodes []*kademlia.Transport
	taken []atomic.Int64 // broadcast frames
}

// newCrowd makes nodes of which each lists, and follows, those that it is told.
func newCrowd(b *testing.B, size int, lists func(i int) []int) *crowd {
	return &crowd{b: b, dir: b.TempDir(), lists: lists, nodes: make([]*kademlia.Transport, size), taken: make([]atomic.Int64, size)}
}

func nodeName(i int) string { return fmt.Sprintf("node%d", i) }

func nodeKey(i int) ed25519.PublicKey { return keyOf(nodeName(i)).Public().(ed25519.PublicKey) }

// listen returns where a node listens. TCP takes two descriptors of this process for each connection between two nodes, QUIC none: 200
// nodes have more connections than a process commonly may have descriptors.
func (c *crowd) listen() string {
	if len(c.nodes) > 100 || os.Getenv("WEFT_MESH_QUIC") != "" {
		return "/ip4/127.0.0.1/udp/0/quic-v1"
	}
	return "/ip4/127.0.0.1/tcp/0"
}

// start starts a node, which takes every frame that it gets.
func (c *crowd) start(i int) {
	var config kademlia.Config
	config.SetDefaults()
	config.MDNS, config.PortMapping = false, false
	config.Listen = []string{c.listen()}
	if c.entry != "" {
		config.Bootstrap = []string{c.entry}
	}
	config.Node, config.DataDir = nodeName(i), filepath.Join(c.dir, nodeName(i))
	config.Key = func() (ed25519.PrivateKey, error) { return keyOf(nodeName(i)), nil }
	for _, other := range c.lists(i) {
		config.Peers = append(config.Peers, kademlia.Peer{Name: nodeName(other), Key: nodeKey(other)})
		config.Follow = append(config.Follow, nodeName(other))
	}
	node, err := kademlia.New(config, slog.New(slog.DiscardHandler))
	require.NoError(c.b, err)
	require.NoError(c.b, node.Start(c.b.Context()))
	c.nodes[i] = node
	c.b.Cleanup(func() { _ = node.Close() })
	frames, err := node.Subscribe(context.Background(), transports.Feed) // ends with the node
	require.NoError(c.b, err)
	go func() {
		for m := range frames {
			c.taken[i].Add(1)
			m.Ack()
		}
	}()
	require.NoError(c.b, node.Announce(c.b.Context(), profile(i, 0)))
}

// profile returns one of a size that is common: some filters and a signature.
func profile(i, version int) []byte {
	return append(fmt.Appendf(nil, "profile %d of node %d ", version, i), bytes.Repeat([]byte("sensors/+/temperature "), 20)...)
}

// startAll starts nodes, node 0 before the others, and ten at a time, each ten when those before are connected to those of their peers that
// run: when 200 do at once what sites do at different times, on a few processors, handshakes take longer than anybody waits.
func (c *crowd) startAll(nodes []int) {
	c.start(0)
	c.entry = c.nodes[0].Addresses()[0]
	for some := range slices.Chunk(nodes, 10) {
		var starting sync.WaitGroup
		var claims []func() bool
		for _, i := range some {
			if i != 0 {
				starting.Go(func() { c.start(i) })
				claims = append(claims, func() bool { return c.nodes[i].Mesh().Nodes > 0 && c.connected(i)() })
			}
		}
		starting.Wait()
		c.await("a node has entered, and is connected to its peers", claims...)
	}
}

// await waits until all claims hold, and returns how long that took.
func (c *crowd) await(what string, claims ...func() bool) time.Duration {
	begin, all := time.Now(), len(claims)
	for told := begin; ; time.Sleep(time.Millisecond) {
		for len(claims) > 0 && claims[0]() { // all of them a thousand times a second would keep a processor busy
			claims = claims[1:]
		}
		if len(claims) == 0 {
			return time.Since(begin)
		}
		if time.Since(told) > 30*time.Second {
			told = time.Now()
			c.b.Logf("%d of %d times not yet after %v: %s; %v", len(claims), all, time.Since(begin).Round(time.Second), what, c.trouble())
		}
		if time.Since(begin) > patienceOfCrowd {
			c.b.Fatalf("%d of %d times never: %s", len(claims), all, what)
		}
	}
}

// patienceOfCrowd is how long anything may take.
const patienceOfCrowd = 10 * time.Minute

// trouble returns why the first node that lacks a peer lacks it.
func (c *crowd) trouble() string {
	for _, node := range c.nodes {
		if node == nil {
			continue
		}
		if detail := node.Report().Detail; detail != "" {
			return detail
		}
	}
	return "all are connected"
}

// connected returns whether a node is connected to those of its peers that run.
func (c *crowd) connected(i int) func() bool {
	return func() bool {
		for _, p := range c.nodes[i].Mesh().Peers {
			var other int
			_, _ = fmt.Sscanf(p.Peer, "node%d", &other)
			if c.nodes[other] != nil && p.How == "unreachable" {
				return false
			}
		}
		return true
	}
}

// knows returns whether a node knows a profile of another, or a newer one.
func (c *crowd) knows(i, other int, version uint64) func() bool {
	return func() bool { return c.nodes[i].Version(nodeName(other)) >= version }
}

// tally is a sum over all nodes of what they count, by metric and label.
type tally map[string]map[string]float64

func (c *crowd) tally() tally {
	sum := tally{}
	for _, node := range c.nodes {
		if node == nil {
			continue
		}
		for _, m := range node.Metrics() {
			if sum[m.Name] == nil {
				sum[m.Name] = map[string]float64{}
			}
			for label, value := range m.Of {
				sum[m.Name][label] += value
			}
		}
	}
	return sum
}

// counted returns the tally once the counters of bytes, which lag by a second, are up to date.
func (c *crowd) counted() tally {
	time.Sleep(2 * time.Second)
	return c.tally()
}

func (t tally) since(before tally) tally {
	diff := tally{}
	for name, of := range t {
		diff[name] = map[string]float64{}
		for label, value := range of {
			diff[name][label] = value - before[name][label]
		}
	}
	return diff
}

// sum returns the sum over the labels that contain a word.
func (t tally) sum(name, word string) (sum float64) {
	for label, value := range t[name] {
		if strings.Contains(label, word) {
			sum += value
		}
	}
	return sum
}

const (
	asked     = "mesh_directory_answers_total"
	lookups   = "mesh_lookups_total"
	sentBytes = "mesh_sent_bytes_total"
	gossip    = "mesh_gossip_messages_total"
)

// settle waits until hardly anything is asked of the directory any more.
func (c *crowd) settle() {
	const pause = 500 * time.Millisecond
	limit := time.Now().Add(30 * time.Second)
	for quiet, last := 0, c.tally(); quiet < 3 && time.Now().Before(limit); {
		time.Sleep(pause)
		now := c.tally()
		if now.since(last).sum(asked, "") > 0.05*float64(len(c.nodes)) {
			quiet = 0
		} else {
			quiet++
		}
		last = now
	}
}

// ring returns the six nodes next to one, three to each side.
func ring(i, size int) (all []int) {
	for _, step := range []int{-3, -2, -1, 1, 2, 3} {
		all = append(all, (i+step+size)%size)
	}
	return all
}

// What does a mesh cost whose nodes each list six others, and what does a node of it wait for? It is no loop: every figure is taken
// once, or is the mean of a few. docs/scale.md explains them.
func BenchmarkMesh(b *testing.B) {
	for _, size := range crowdSizes(b) {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			runtime.GC()
			rss, goroutines := resident(b), runtime.NumGoroutine()
			c := newCrowd(b, size, func(i int) []int { return ring(i, size) })
			late := []int{size / 4, size / 2, 3 * size / 4}
			c.form(late)
			c.join(late)
			c.weigh(rss, goroutines)
			c.changeProfiles()
			c.broadcastFrames()
			c.rest()
			b.ReportMetric(0, "ns/op")
		})
	}
}

// form starts all nodes but some.
func (c *crowd) form(late []int) {
	var now []int
	for i := range c.nodes {
		if !slices.Contains(late, i) {
			now = append(now, i)
		}
	}
	begin := time.Now()
	c.startAll(now)
	var claims []func() bool
	for _, i := range now {
		claims = append(claims, c.connected(i))
	}
	c.await("a node is connected to its peers", claims...)
	c.b.ReportMetric(time.Since(begin).Seconds(), "form-s")
	c.settle()
	c.b.ReportMetric(c.tally().sum(lookups, "")/float64(len(now)), "form-lookups/node")
	c.b.ReportMetric(c.tally().sum(asked, "")/float64(len(now)), "form-requests/node")
	c.b.Logf("forming: lookups %v, requests %v", c.tally()[lookups], c.tally()[asked])
}

// join starts the others one after the other.
func (c *crowd) join(late []int) {
	var total time.Duration
	before := c.tally()
	for _, i := range late {
		begin := time.Now()
		c.start(i)
		c.await("a late node is connected to its peers", c.connected(i))
		total += time.Since(begin)
	}
	c.settle()
	cost := c.counted().since(before)
	c.b.ReportMetric(total.Seconds()/float64(len(late)), "join-s")
	c.b.ReportMetric(cost.sum(lookups, "")/float64(len(late)), "lookups/join")
	c.b.ReportMetric(cost.sum(asked, "")/float64(len(late)), "requests/join")
	c.b.Logf("%d joined: lookups %v, requests %v, bytes%s", len(late), cost[lookups], cost[asked], c.perNode(cost[sentBytes], 1))
}

// weigh measures what the nodes take of this process.
func (c *crowd) weigh(rss float64, goroutines int) {
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	nodes := float64(len(c.nodes))
	c.b.ReportMetric(float64(mem.HeapAlloc)/(1<<20)/nodes, "heap-MiB/node")
	c.b.ReportMetric((resident(c.b)-rss)/(1<<20)/nodes, "RSS-MiB/node")
	c.b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/nodes, "goroutines/node")
	now := c.tally()
	c.b.ReportMetric(now.sum("mesh_nodes", "")/nodes, "conns/node")
	c.b.ReportMetric(now.sum("mesh_directory_nodes", "")/nodes, "table/node")
	c.b.ReportMetric(now.sum("mesh_streams", "")/nodes, "streams/node")
}

// resident returns the memory of this process in bytes.
func resident(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Log("RSS is not known here:", err)
		return 0
	}
	var size, pages int
	_, err = fmt.Sscan(string(text), &size, &pages)
	require.NoError(b, err)
	return float64(pages * os.Getpagesize())
}

// changeProfiles changes some profiles, first for what it costs, then for when it is seen.
func (c *crowd) changeProfiles() {
	const changes = 6
	size := len(c.nodes)
	before := c.tally()
	var connected, directory time.Duration
	for n := range changes {
		i := n * size / changes
		begin := time.Now()
		require.NoError(c.b, c.nodes[i].Announce(c.b.Context(), profile(i, 1)))
		c.await("connected peers know a new profile", c.peersKnow(i)...)
		connected += time.Since(begin)
		c.settle()
	}
	cost := c.counted().since(before)
	c.b.ReportMetric(connected.Seconds()*1000/changes, "connected-ms")
	c.b.ReportMetric(cost.sum(lookups, "")/changes, "lookups/change")
	c.b.ReportMetric(cost.sum(asked, "")/changes, "requests/change")
	c.b.ReportMetric(cost.sum(sentBytes, "/kad/")/changes, "directory-B/change")
	c.b.ReportMetric(cost.sum(sentBytes, "/weft/profile/")/changes, "push-B/change")
	c.b.Logf("profile changes: requests %v", cost[asked])
	for n := range changes {
		i := n * size / changes
		far := c.nodes[(i+size/2+1)%size]
		begin := time.Now()
		require.NoError(c.b, c.nodes[i].Announce(c.b.Context(), profile(i, 2)))
		version := c.nodes[i].Version(nodeName(i))
		c.await("the directory knows a new profile", func() bool {
			found, err := far.LookUp(c.b.Context(), nodeKey(i))
			return err == nil && found >= version
		})
		directory += time.Since(begin)
		c.settle()
	}
	c.b.ReportMetric(directory.Seconds()*1000/changes, "directory-ms")
}

func (c *crowd) peersKnow(i int) (claims []func() bool) {
	version := c.nodes[i].Version(nodeName(i))
	for _, other := range c.lists(i) {
		claims = append(claims, c.knows(other, i, version))
	}
	return claims
}

// broadcastFrames lets some nodes broadcast, and waits for the last follower of each.
func (c *crowd) broadcastFrames() {
	const origins, frames = 5, 20
	size := len(c.nodes)
	for i := range c.nodes {
		c.await("the feeds are followed", c.follows(i)...)
	}
	before := c.counted()
	var total time.Duration
	for n := range origins {
		origin := n * size / origins
		for range frames {
			total += c.broadcast(origin, c.lists(origin), 512) // they list, and follow, each other
		}
	}
	time.Sleep(3 * time.Second) // for the notice after the last one
	c.reportFrames(before, origins*frames, 6, total)
	before = c.counted()
	for range frames {
		c.broadcast(0, c.lists(0), 64<<10)
	}
	time.Sleep(3 * time.Second)
	cost := c.counted().since(before)
	c.b.ReportMetric(cost.sum(gossip, "duplicate")/(frames*6), "duplicates/64KiB-frame/follower")
}

func (c *crowd) follows(i int) (claims []func() bool) {
	for _, other := range c.lists(i) {
		claims = append(claims, func() bool { return place(c.nodes[i], nodeName(other)).Taken > 0 })
	}
	return claims
}

// broadcast publishes a frame, and returns how long it took until the last follower had taken it.
func (c *crowd) broadcast(origin int, followers []int, size int) time.Duration {
	var claims []func() bool
	for _, i := range followers {
		want := c.taken[i].Load() + 1
		claims = append(claims, func() bool { return c.taken[i].Load() >= want })
	}
	m := message.NewMessage(fmt.Sprint(time.Now().UnixNano()), bytes.Repeat([]byte("x"), size))
	begin := time.Now()
	require.NoError(c.b, c.nodes[origin].Publish(transports.Broadcast, m))
	c.await("a broadcast is taken", claims...)
	return time.Since(begin)
}

func (c *crowd) reportFrames(before tally, frames, followers int, total time.Duration) {
	cost := c.counted().since(before)
	copies := float64(frames * followers)
	c.b.ReportMetric(total.Seconds()*1000/float64(frames), "frame-ms")
	c.b.ReportMetric((cost.sum(gossip, "new")+cost.sum(gossip, "duplicate"))/copies, "messages/frame/follower")
	c.b.ReportMetric(cost.sum(gossip, "duplicate")/copies, "duplicates/frame/follower")
	c.b.ReportMetric(cost.sum(sentBytes, "/meshsub/")/copies, "gossip-B/frame/follower")
	c.b.ReportMetric(cost.sum("mesh_feed_fetched_total", "")/copies, "fetched/frame/follower")
}

// rest watches nodes to which nothing happens, and what they do now and then: look after the routing table of the directory.
func (c *crowd) rest() {
	c.settle()
	watched := restTime(c.b)
	before := c.counted()
	time.Sleep(watched)
	cost := c.tally().since(before)
	perHour := float64(time.Hour) / float64(watched) / float64(len(c.nodes))
	c.b.ReportMetric(cost.sum(sentBytes, "")*perHour, "rest-B/node/h")
	c.b.ReportMetric(cost.sum(sentBytes, "/meshsub/")*perHour, "rest-gossip-B/node/h")
	c.b.ReportMetric(cost.sum(sentBytes, "/kad/")*perHour, "rest-directory-B/node/h")
	c.b.Logf("at rest, bytes a node and hour: %s", c.perNode(cost[sentBytes], perHour))
	const refreshes = 5
	before = c.counted()
	for n := range refreshes {
		require.NoError(c.b, c.nodes[n*len(c.nodes)/refreshes].RefreshTable())
	}
	cost = c.counted().since(before)
	c.b.ReportMetric(cost.sum(asked, "")/refreshes, "requests/refresh")
	c.b.ReportMetric(cost.sum(sentBytes, "/kad/")/refreshes, "directory-B/refresh")
}

func (c *crowd) perNode(of map[string]float64, factor float64) string {
	var text strings.Builder
	for _, label := range slices.Sorted(maps.Keys(of)) {
		if of[label] > 0 {
			_, _ = fmt.Fprintf(&text, " %s %.0f", label, of[label]*factor)
		}
	}
	return text.String()
}

// What does a feed cost that everybody follows, and whose origin lists nobody?
func BenchmarkFollowers(b *testing.B) {
	for _, size := range crowdSizes(b) {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			c := newCrowd(b, size, func(i int) []int {
				if i == 0 {
					return nil
				}
				return []int{0}
			})
			var all, followers []int
			for i := range size {
				all = append(all, i)
			}
			followers = all[1:]
			c.startAll(all)
			for _, i := range followers {
				c.await("the feed is followed", c.follows(i)...)
			}
			c.settle()
			time.Sleep(restTime(b)) // the connections beyond the most are closed after a while
			before, origin := c.counted(), c.nodes[0].Metrics()
			const frames = 20
			var total time.Duration
			for range frames {
				total += c.broadcast(0, followers, 512)
			}
			time.Sleep(3 * time.Second)
			c.reportFrames(before, frames, len(followers), total)
			b.ReportMetric((metric(c.nodes[0].Metrics(), gossip, "sent")-metric(origin, gossip, "sent"))/frames, "sent-by-origin/frame")
			b.ReportMetric(metric(c.nodes[0].Metrics(), "mesh_nodes", ""), "conns-of-origin")
			var reconnects uint64
			for _, i := range followers {
				reconnects += c.nodes[i].Report().Reconnects
			}
			b.ReportMetric(float64(reconnects)/float64(len(followers)), "reconnects/follower")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func metric(all []transports.Metric, name, label string) float64 {
	for _, m := range all {
		if m.Name == name {
			return m.Of[label]
		}
	}
	return 0
}
