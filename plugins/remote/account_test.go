package remote_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/weft-relay/weft/matching"
	"github.com/weft-relay/weft/pipeline/stage"
	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
	"github.com/weft-relay/weft/plugins/remote"
)

// Whatever a program answers: is what comes of it within the contract of stages, or an error?
func FuzzAnswerIsWithinTheContract(f *testing.F) {
	for _, answer := range []*pluginv1.ProcessResponse{
		{Messages: []*pluginv1.Result{{Id: 10}, {Id: 11, Topic: new("c"), Payload: []byte("x"), Qos: new(uint32(2)), Retain: new(true)}}, Kept: []uint64{12}},
		{Messages: []*pluginv1.Result{{Id: 3, Topic: new("c"), Payload: []byte{}, Qos: new(uint32(0)), Retain: new(false)}, {Id: 3}}, Superseded: []uint64{4}},
		{Refused: []*pluginv1.Refusal{{Id: 10}}, AgainUnixNano: 1, Messages: []*pluginv1.Result{nil, {Id: 12}, {Id: 11}}},
	} {
		encoded, err := proto.Marshal(answer)
		require.NoError(f, err)
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var answer pluginv1.ProcessResponse
		if proto.Unmarshal(encoded, &answer) != nil {
			return // gRPC would not have handed it on
		}
		kept := remote.Keeping{mqttMessage(3, "a", ""), mqttMessage(4, "b", "")}
		in := []stage.Message{mqttMessage(10, "a", "x"), mqttMessage(11, "a", "y"), mqttMessage(12, "b", "z")}
		out, err := remote.Account(&kept, &answer, in, 1000)
		if err != nil {
			require.ErrorIs(t, err, remote.ErrContract)
			require.Len(t, kept, 2)
			return
		}
		known := map[uint64]bool{3: true, 4: true, 10: true, 11: true, 12: true}
		size := 0
		last := map[uint64]int{}
		for i, m := range out.Messages {
			require.True(t, known[m.ID])
			require.NoError(t, matching.ValidateTopic(m.Topic))
			require.LessOrEqual(t, m.QoS, byte(2))
			require.Equal(t, "alice", m.Origin)
			size += len(m.Payload)
			last[m.ID] = i
			if m.ID == 10 {
				_, overtaken := last[11]
				require.False(t, overtaken)
			}
		}
		require.LessOrEqual(t, size, 1000)
		for _, id := range out.Kept {
			require.True(t, known[id] && id >= 10)
		}
		for _, id := range out.Superseded {
			require.True(t, id == 3 || id == 4)
		}
		for _, r := range out.Refused {
			require.True(t, known[r.ID])
			require.NotEmpty(t, r.Reason)
		}
		for _, m := range kept {
			require.True(t, known[m.ID])
		}
	})
}

// Whatever a program says of itself: is it a description that can be shown, or an error?
func FuzzDescription(f *testing.F) {
	encoded, err := proto.Marshal(&pluginv1.DescribeResponse{Name: "x", Types: []*pluginv1.Type{
		{Kind: pluginv1.Kind_KIND_STAGE, Name: "a", Options: []*pluginv1.Option{{Key: "b.c", Type: 5, Required: true}, {Key: "d"}}},
	}})
	require.NoError(f, err)
	f.Add(encoded, []byte(`{"b": {"c": "1s"}}`))
	f.Add(encoded, []byte(`{"b": {"x": 1}, "d": [null]}`))
	f.Fuzz(func(t *testing.T, encoded, options []byte) {
		var answer pluginv1.DescribeResponse
		if proto.Unmarshal(encoded, &answer) != nil {
			return // gRPC would not have handed it on
		}
		d, err := remote.NewDescription(&answer)
		if err != nil {
			require.ErrorIs(t, err, remote.ErrContract)
			return
		}
		for _, one := range d.Types {
			found, err := d.Type(one.Kind, one.Name)
			require.NoError(t, err)
			require.Equal(t, one, found)
			_ = one.Check(options)
		}
	})
}

// Whatever a program writes: does its handshake stay one line, and do its lines stay short?
func FuzzHandshake(f *testing.F) {
	f.Add("1|1|unix|/tmp/x|grpc\n")
	f.Add("1|1|tcp|127.0.0.1:1|grpc|")
	f.Fuzz(func(t *testing.T, line string) {
		if err := remote.CheckHandshake(line, nil); err != nil {
			require.ErrorIs(t, err, remote.ErrContract)
			require.Less(t, len(err.Error()), 600)
		}
		_, text, _ := remote.ParseLine(line)
		require.LessOrEqual(t, len(text), len(line))
	})
}
