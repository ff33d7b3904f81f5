package pluginv1_test

import (
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	pluginv1 "github.com/weft-relay/weft/plugins/proto/weft/plugin/v1"
)

// Is the Go code what `make proto` makes of the .proto files now?
func TestGeneratedCodeIsUpToDate(t *testing.T) {
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{ImportPaths: []string{"../../.."}}}
	for _, generated := range []protoreflect.FileDescriptor{
		pluginv1.File_weft_plugin_v1_plugin_proto, pluginv1.File_weft_plugin_v1_stage_proto, pluginv1.File_weft_plugin_v1_transport_proto,
	} {
		written, err := compiler.Compile(t.Context(), generated.Path())
		require.NoError(t, err)
		require.True(t, proto.Equal(protodesc.ToFileDescriptorProto(written[0]), protodesc.ToFileDescriptorProto(generated)),
			"%s has changed; run make proto", generated.Path())
	}
}
