package configs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/configs"
)

type options struct {
	Every time.Duration `yaml:"every"`
	Bytes int64         `yaml:"bytes" weft:"size"`
	Text  string        `yaml:"text"`
	Names []string      `yaml:"names"`
	Batch struct {
		Count int `yaml:"count"`
	} `yaml:"batch"`
}

func (o *options) SetDefaults() { o.Every, o.Bytes = time.Minute, 64<<10 }

func TestOptionsAreDecodedAsSectionsAre(t *testing.T) {
	var got options
	require.NoError(t, configs.DecodeOptions([]byte(`{"bytes":"16KiB","text":"${HOME} $${x}","names":["a"],"batch":{"count":3}}`), &got))
	want := options{Every: time.Minute, Bytes: 16 << 10, Text: "${HOME} $${x}", Names: []string{"a"}}
	want.Batch.Count = 3
	require.Equal(t, want, got)

	require.NoError(t, configs.DecodeOptions([]byte("{}"), new(options)))
	require.NoError(t, configs.DecodeOptions(nil, new(options)))
	err := configs.DecodeOptions([]byte(`{"evry":"1s","every":"1","batch":{"count":"x"}}`), new(options))
	require.EqualError(t, err, `evry: unknown key; did you mean "every"?
every: "1" has no unit; write 1ms, 1s, 1m or 1h
batch.count: "x" is not a whole number of up to 64 bits`)
	require.Error(t, configs.DecodeOptions([]byte(`[1]`), new(options)))
	require.Error(t, configs.DecodeOptions([]byte(`{`), new(options)))
}
