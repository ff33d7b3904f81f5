package cli_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weft-relay/weft/cmd/weft/cli"
	"github.com/weft-relay/weft/configs"
)

func TestSchemaIsPrinted(t *testing.T) {
	got := run(t, "schema")
	require.Zero(t, got.status, got.err)
	want, err := json.Marshal(configs.Schema(cli.Set.Types()))
	require.NoError(t, err)
	require.JSONEq(t, string(want), got.out)
}
