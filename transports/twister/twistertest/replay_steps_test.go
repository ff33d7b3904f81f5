package twistertest_test

import (
	"fmt"
	"net"

	"github.com/stretchr/testify/require"
)

var groupSteps = map[int]func(p *play){
	381: func(p *play) { p.at(1888) },
	385: func(p *play) { p.alias("*rqzpuaxx", "n2") },
	407: func(p *play) { p.do("n2", "unfollow", "mqtt_bob", []any{"mqtt_alice"}) },
	413: func(p *play) { p.dm("mqtt_alice", 9, p.aliases["*brqzpuax"], "bob has left") },
	415: func(p *play) { p.follow("n2", "mqtt_bob", "mqtt_alice") },
	435: func(p *play) {
		require.NoError(p.t, p.node("n2").ImportKey(p.node("n1"), "mqtt_alice"))
		p.post("mqtt_alice", 12, "raw source")
		p.do("n1", "getposts", int64(1), []any{}) // which takes the promoted post away
	},
	437: func(p *play) { p.net.Partition(p.node("n1"), p.node("n2")) },
	439: func(p *play) { p.net.Heal(p.node("n1"), p.node("n2")) },
}

// alias notes what stands here for a recorded alias: the group that the daemon knows.
func (p *play) alias(recorded, node string) {
	list, _ := p.do(node, "listgroups").([]any)
	require.Len(p.t, list, 1)
	p.aliases[recorded], _ = list[0].(string)
}

// httpSteps hold ten connections open where the records did.
var httpSteps = map[int]func(p *play){
	499: func(p *play) {
		for range 10 {
			conn, err := net.Dial("tcp", p.node("n1").Addr())
			require.NoError(p.t, err)
			p.t.Cleanup(func() { _ = conn.Close() })
			p.idle = append(p.idle, conn)
		}
	},
	500: func(p *play) { require.NoError(p.t, p.idle[0].Close()) },
}

func setPersistence(p *play) {
	pair(508)(p)
	for k := range 5 {
		p.at(2397+int64(min(1, k/2))).dm("mqtt_alice", k, "mqtt_bob", fmt.Sprintf("before restart %d", k))
	}
	p.dm("mqtt_bob", 0, "mqtt_alice", "from bob before restart")
	for i := range 3 {
		p.post("mqtt_alice", 5+i, fmt.Sprintf("post before restart %d", i))
	}
	p.do("n2", "getposts", int64(1), []any{}) // which takes the promoted post away
	p.restart("n1", "n2")
}

var persistenceSteps = map[int]func(p *play){
	505: func(p *play) { p.warm("n1", "n2") },
	510: func(p *play) {
		p.at(2410).dm("mqtt_alice", 8, "mqtt_bob", "unrecorded")
		p.node("n2").Stop()
		p.at(2414).dm("mqtt_alice", 9, "mqtt_bob", "sent while bob is down")
	},
	511: func(p *play) {
		require.NoError(p.t, p.node("n2").Start())
		p.warm("n2")
	},
	512: func(p *play) {
		p.node("n2").Stop()
		p.at(2432).dm("mqtt_alice", 10, "mqtt_bob", "sender stops before bob is back")
		p.node("n1").Stop()
		require.NoError(p.t, p.node("n2").Start())
		p.warm("n2")
	},
	513: killInABurst,
	516: func(p *play) { p.net.Heal(p.node("n1"), p.node("n2")) },
}

// killInABurst kills alice's daemon when the last of many messages has not reached bob's, and starts it out of his reach.
func killInABurst(p *play) {
	require.NoError(p.t, p.node("n1").Start())
	p.warm("n1")
	for k := 11; k <= 233; k++ {
		if k == 233 {
			p.net.SetLoss(1, true)
		}
		p.at(2500).dm("mqtt_alice", k, "mqtt_bob", fmt.Sprintf("burst %d", k))
	}
	p.net.SetLoss(0, false)
	p.node("n1").Kill()
	p.net.Partition(p.node("n1"), p.node("n2"))
	require.NoError(p.t, p.node("n1").Start())
	p.warm("n1")
}

func setOneBox(p *play) {
	p.node("n2") // the helper
	p.register("n3", "mqtt_bob", 5)
	p.register("n3", "mqtt_alice", 6)
	p.net.Mine(502)
	p.follow("n3", "mqtt_alice", "mqtt_alice", "mqtt_bob")
	p.follow("n3", "mqtt_bob", "mqtt_bob", "mqtt_alice")
}

// bits is the torrent of the one box as line 558 shows it.
var bits = "1111" + zeros(6) + ones(200)

var oneBoxSteps = map[int]func(p *play){
	550: func(p *play) { p.at(3011) },
	553: func(p *play) {
		p.fill("n3", "mqtt_alice", bits)
		p.do("n3", "newpostmsg", "mqtt_bob", int64(40), "highest k")
		p.follow("n3", "mqtt_bob", "mqtt_alice")
		p.node("n2").Stop()
	},
	557: func(p *play) { p.restart("n3") },
	559: func(p *play) { p.net.Mine(1) },
}

var expirySteps = map[int]func(p *play){
	570: func(p *play) { p.restart("n1", "n2") },
	572: func(p *play) {
		p.do("n1", "dhtput", "mqtt_alice", "mqtt", "s", map[string]any{"a": int64(1)}, "mqtt_alice", int64(1))
	},
	574: func(p *play) {
		p.dm("mqtt_alice", 0, "mqtt_alice", "unrecorded")
		p.node("n1").EncryptWallet("secret pass")
		p.node("n1").Stop()
	},
	575: func(p *play) { require.NoError(p.t, p.node("n1").Start()) },
	581: func(p *play) { p.at(3572).dm("mqtt_bob", 0, "mqtt_alice", "to a locked wallet") },
	582: func(p *play) { p.at(3573) },
	586: func(p *play) { p.do("n1", "rescandirectmsgs", "mqtt_alice") },
	587: func(p *play) { p.node("n2").SetPublicServer(true) },
}

func zeros(n int) string { return fmt.Sprintf("%0*d", n, 0) }

func ones(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = '1'
	}
	return string(text)
}
