package manifest

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/scheme"
)

// Kubernetes' own types say when they were removed, as far as they are still
// among its Go types.
func TestRemovalsAgreeWithKubernetes(t *testing.T) {
	known := 0
	for gvk := range scheme.Scheme.AllKnownTypes() {
		o, err := scheme.Scheme.New(gvk)
		if err != nil {
			continue
		}
		l, ok := o.(interface{ APILifecycleRemoved() (int, int) })
		if !ok || strings.HasSuffix(gvk.Kind, "List") {
			continue
		}
		major, minor := l.APILifecycleRemoved()
		want := fmt.Sprintf("%d.%d", major, minor)
		in, _, removed := RemovedIn(gvk.Group, gvk.Version, gvk.Kind)
		if before(want, "1.38") {
			known++
			if in != want {
				t.Errorf("%s is removed in %s; the table says %q", gvk, want, in)
			}
		} else if removed {
			t.Errorf("%s is served until %s; the table says it was removed in %s", gvk, want, in)
		}
	}
	if known < 30 {
		t.Errorf("only %d removed types were found: the check proves nothing", known)
	}
}
