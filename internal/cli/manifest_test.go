package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// The manifest for Kubernetes grants nothing but reading, in places that the
// program asks, and its command line is one of this program.
func TestKubernetesManifest(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "kubernetes", "import.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Kind     string
		Metadata struct{ Name, Namespace string }
		Rules    []struct {
			APIGroups        []string `yaml:"apiGroups"`
			Resources, Verbs []string
		}
		RoleRef  struct{ Kind, Name string } `yaml:"roleRef"`
		Subjects []struct{ Kind, Name, Namespace string }
		Spec     struct {
			Template struct {
				Spec struct {
					ServiceAccountName string `yaml:"serviceAccountName"`
					Containers         []struct {
						Command, Args   []string
						SecurityContext struct {
							AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
							ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
							Capabilities             struct{ Drop []string }
						} `yaml:"securityContext"`
					}
					Volumes []struct {
						Secret struct {
							SecretName string `yaml:"secretName"`
						}
					}
				}
			}
		}
	}
	objects := map[string]object{}
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		objects[o.Kind] = o
	}
	if len(objects) != 4 {
		t.Fatalf("%d kinds of object", len(objects))
	}
	role, account, bound := objects["ClusterRole"], objects["ServiceAccount"], objects["ClusterRoleBinding"]
	var granted []string
	for _, r := range role.Rules {
		for _, verb := range r.Verbs {
			if !slices.Contains([]string{"get", "list"}, verb) {
				t.Errorf("%v may be %s", r.Resources, verb)
			}
			for _, resource := range r.Resources {
				granted = append(granted, verb+" "+r.APIGroups[0]+"/"+resource)
			}
		}
		if len(r.Verbs) == 0 || len(r.APIGroups) != 1 {
			t.Errorf("%+v", r)
		}
	}
	slices.Sort(granted)
	want := []string{"get /configmaps", "get /secrets", "list /configmaps", "list /secrets", "list argoproj.io/applications", "list argoproj.io/applicationsets",
		"list helm.toolkit.fluxcd.io/helmreleases", "list source.toolkit.fluxcd.io/helmcharts", "list source.toolkit.fluxcd.io/helmrepositories", "list source.toolkit.fluxcd.io/ocirepositories"}
	if !slices.Equal(granted, want) {
		t.Errorf("granted is %q", granted)
	}
	pod := objects["Deployment"].Spec.Template.Spec
	if pod.ServiceAccountName != account.Metadata.Name || bound.RoleRef.Name != role.Metadata.Name || len(bound.Subjects) != 1 ||
		bound.Subjects[0].Name != account.Metadata.Name || bound.Subjects[0].Namespace != account.Metadata.Namespace || account.Metadata.Name == "" {
		t.Errorf("the account %s is bound as %+v", account.Metadata.Name, bound.Subjects)
	}
	if len(pod.Containers) != 1 || len(pod.Volumes) != 1 || pod.Volumes[0].Secret.SecretName == "" {
		t.Fatalf("%+v", pod)
	}
	c := pod.Containers[0]
	if s := c.SecurityContext; s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("%+v", s)
	}
	root := testApp().root()
	root.InitDefaultHelpCmd()
	if !slices.Equal(c.Command, []string{"chartkeep"}) {
		t.Fatalf("it runs %q", c.Command)
	}
	found, rest, err := root.Find(c.Args)
	if err == nil {
		err = found.ParseFlags(rest)
	}
	if err == nil {
		err = found.ValidateArgs(found.Flags().Args())
	}
	if err != nil || found.CommandPath() != "chartkeep deployment import" {
		t.Fatalf("%s: %v", found.CommandPath(), err)
	}
	given := map[string]string{}
	found.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	if given["from"] != "[kube]" || given["every"] == "" || !strings.HasPrefix(given["server"], "https://") || given["token-file"] == "" {
		t.Errorf("%v", given)
	}
	opt := inventoryOptions{every: given["every"], given: found.Flags()}
	if every, err := opt.repetition(); err != nil || every == nil || *every == 0 {
		t.Errorf("--every %s: %v, %v", given["every"], every, err)
	}
}
