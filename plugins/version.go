package plugins

import (
	"runtime/debug"
	"strings"
)

// Version returns the version of the module that a package of this program is of, as the Go toolchain knows it: a tag, or one made of the
// commit.
func Version(pkg string) string {
	const unknown = "(devel)"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	found := &debug.Module{}
	for _, m := range append(info.Deps, &info.Main) {
		if strings.HasPrefix(pkg+"/", m.Path+"/") && len(m.Path) > len(found.Path) {
			found = m
		}
	}
	if found.Replace != nil {
		found = found.Replace
	}
	if found.Version == "" {
		return unknown
	}
	return found.Version
}
