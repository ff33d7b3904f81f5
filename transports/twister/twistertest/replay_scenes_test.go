package twistertest_test

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/transports/twister/twistertest"
)

// The scenes set up what the records need, and do before a line what was done to the real daemons without a record.
var scenes = []scene{
	{line: 1, name: "first start", cold: true, set: func(p *play) { p.node("n1").Kill() }, before: map[int]func(p *play){
		2:  func(p *play) { require.NoError(p.t, p.node("n1").Start()) },
		30: func(p *play) { p.net.Mine(1) },
		36: func(p *play) { p.net.Mine(1) },
		37: func(p *play) { p.net.Mine(2) },
		46: func(p *play) { twistertest.OpenSession(p.node("n1")) },
		49: func(p *play) { twistertest.Load(p.node("n1")) },
		62: func(p *play) { p.node("n2") },
		68: func(p *play) { p.net.Mine(1) },
		69: func(p *play) { p.net.Mine(1) },
		81: func(p *play) { p.net.Mine(1) },
	}},
	{line: 83, name: "posts and messages", set: pair(508), seed: copySeed, before: map[int]func(p *play){
		128: func(p *play) { p.dm("mqtt_alice", 2, "mqtt_bob", "original at k=2") },
		141: func(p *play) {
			for k := 7; k <= 12; k++ {
				p.at(1055+int64(k)).post("mqtt_alice", k, fmt.Sprintf("public %d", k))
			}
		},
		151: func(p *play) {
			for i := range 5 {
				p.at(1069).post("mqtt_alice", 13+i, fmt.Sprintf("same second %d", i))
			}
		},
		152: func(p *play) {
			for i := range 5 {
				p.at(1070).dm("mqtt_alice", 18+i, "mqtt_bob", fmt.Sprintf("same second dm %d", i))
			}
		},
		154: func(p *play) {
			for i := range 3 {
				p.at(1071).dm("mqtt_alice", 23+i, "mqtt_bob", "identical text")
			}
		},
		163: func(p *play) { p.at(1074).dm("mqtt_alice", 26, "mqtt_bob", "poll A") },
		164: func(p *play) { p.at(1074).dm("mqtt_alice", 27, "mqtt_bob", "poll B") },
	}},
	{line: 208, name: "sizes, characters and following", set: pair(508), before: map[int]func(p *play){
		208: func(p *play) {
			for k := range 4 {
				p.at(1405).dm("mqtt_alice", k, "mqtt_bob", fmt.Sprintf("size %d", k))
			}
			p.post("mqtt_alice", 106, "size")
			p.do("n2", "getposts", int64(1), []any{}) // which takes the promoted post away
		},
		215: func(p *play) {
			for k := 5; k < 18; k++ {
				p.at(1405).dm("mqtt_alice", k, "mqtt_bob", fmt.Sprintf("size %d", k))
			}
			p.post("mqtt_alice", 117, "size")
		},
		272: func(p *play) { p.dm("mqtt_alice", 153, "mqtt_alice", "takes k=153") },
		284: func(p *play) { p.at(1436).dm("mqtt_alice", 156, "mqtt_bob", "alice does not follow bob") },
		286: func(p *play) { p.post("mqtt_alice", 1003, "highest k") },
		295: func(p *play) { p.at(1437).dm("mqtt_alice", 157, "mqtt_bob", "unrecorded") },
	}},
	{line: 297, name: "DHT", set: pair(508), before: map[int]func(p *play){
		358: func(p *play) { p.at(1556).post("mqtt_alice", 0, "status zero") },
		360: func(p *play) { p.dm("mqtt_alice", 1, "mqtt_bob", "not in the DHT") },
		365: func(p *play) { p.node("n1").Stop() },
		366: func(p *play) { require.NoError(p.t, p.node("n1").Start()) },
	}},
	{line: 368, name: "groups", set: pair(508), seed: groupSeed, before: groupSteps},
	{
		line: 441, name: "the same k at a time", set: pair(508), opts: twistertest.Options{Speed: twistertest.Speed{Hash: patience}},
		before: map[int]func(p *play){443: func(p *play) {
			require.Eventually(p.t, func() bool { return !p.node("n1").Running() }, 20*patience, patience/100)
		}},
	},
	{line: 444, name: "HTTP", set: pair(508), before: httpSteps},
	{line: 501, name: "persistence", cold: true, set: setPersistence, before: persistenceSteps},
	{line: 519, name: "killed before the first save", set: func(p *play) {
		pair(508)(p)
		for k := range 5 {
			p.dm("mqtt_alice", k, "mqtt_bob", fmt.Sprintf("young %d", k))
		}
		p.do("n1", "getposts", int64(1), []any{}) // which takes the promoted post away
		p.node("n1").Kill()
		p.node("n2").Kill()
		p.restart("n1", "n2")
	}, before: map[int]func(p *play){526: followAgain}},
	{line: 530, name: "large user data", set: func(p *play) {
		pair(3000)(p)
		for k := 4990; k < 5000; k++ {
			p.dm("mqtt_alice", k, "mqtt_bob", fmt.Sprintf("%d zzzzzzzzzzzzzzz", k))
		}
		p.restart("n1", "n2")
	}, opts: twistertest.Options{UserDataLimit: 800}, before: map[int]func(p *play){535: followAgain}},
	{line: 538, name: "one box", set: setOneBox, seed: copySeed, before: oneBoxSteps},
	{line: 561, name: "ceiling", set: pair(13), before: map[int]func(p *play){564: func(p *play) { p.net.Mine(1) }}},
	{line: 569, name: "expiry and a locked wallet", set: func(p *play) {
		pair(108)(p)
		p.do("n1", "dhtput", "mqtt_alice", "mqtt", "s", map[string]any{"a": int64(1)}, "mqtt_alice", int64(1))
		p.do("n1", "dhtput", "mqtt_alice", "profile", "s", map[string]any{"bio": "keep"}, "mqtt_alice", int64(1))
		p.net.Mine(2210 - 108)
	}, before: expirySteps},
	{line: 596, name: "late follow and ceiling", set: func(p *play) {
		p.register("n1", "mqtt_alice", 6)
		p.register("n2", "mqtt_bob", 7)
		p.register("n1", "mqtt_carol", 8)
		p.net.Mine(8)
		p.follow("n1", "mqtt_alice", "mqtt_alice", "mqtt_bob")
		p.follow("n2", "mqtt_bob", "mqtt_bob", "mqtt_alice")
	}, before: map[int]func(p *play){
		604: func(p *play) {
			p.node("n2").HoldBlocks(true)
			p.net.Mine(1)
		},
		605: func(p *play) { p.node("n2").HoldBlocks(false) },
		607: func(p *play) { p.net.Heal(p.node("n1"), p.node("n2")) },
	}},
	{line: 608, name: "sender who does not follow herself", set: func(p *play) {
		p.register("n1", "mqtt_alice", 6)
		p.register("n2", "mqtt_bob", 7)
		p.net.Mine(32)
		p.follow("n2", "mqtt_bob", "mqtt_bob", "mqtt_alice")
		for k := range 3 {
			p.at(5054).dm("mqtt_alice", k, "mqtt_bob", fmt.Sprintf("ns %d", k))
		}
		p.node("n2").Stop()
		p.at(5055).dm("mqtt_alice", 3, "mqtt_bob", "for the offline bob")
		p.restart("n1")
	}, before: map[int]func(p *play){610: func(p *play) { require.NoError(p.t, p.node("n2").Start()) }}},
}

const (
	copySeed  = 2
	groupSeed = 1
)

func followAgain(p *play) {
	p.follow("n1", "mqtt_alice", "mqtt_alice", "mqtt_bob")
	p.follow("n2", "mqtt_bob", "mqtt_bob", "mqtt_alice")
}
