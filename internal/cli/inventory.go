package cli

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/chartkeep/chartkeep/internal/deployment"
	"github.com/chartkeep/chartkeep/internal/remote/cluster"
)

// whereOptions say where deployments are read.
type whereOptions struct {
	from        []string
	kubeconfig  string
	namespace   string
	cluster     string
	environment string
	owner       string
}

func (o *whereOptions) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.from, "from", nil, "`WHERE` to read: kube (the current context), kube:CONTEXT, a folder, a file; may be given several times")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig `FILE` (default: KUBECONFIG, then ~/.kube/config)")
	f.StringVar(&o.namespace, "namespace", "", "only `NAMESPACE` of a cluster (default: all)")
	f.StringVar(&o.cluster, "cluster", "", "`NAME` of the cluster or of the folder in the keys of deployments (default: the context; none)")
	f.StringVar(&o.environment, "environment", "", "`NAME` of the environment of what does not say it")
	f.StringVar(&o.owner, "owner", "", "`NAME` of the owner of what does not say it")
}

// maxListFile bounds one file that describes deployments, in bytes.
const maxListFile = 512 << 20

// read reads all that is asked for.
func (o *whereOptions) read(ctx context.Context) (deployment.Inventory, error) {
	out := deployment.Inventory{From: strings.Join(o.from, ", "), Deployments: []deployment.Deployment{}}
	for _, where := range o.from {
		v, err := o.readOne(ctx, where)
		if err != nil {
			return out, err
		}
		out.Deployments = append(out.Deployments, v.Deployments...)
		out.Problems = append(out.Problems, v.Problems...)
	}
	for i := range out.Deployments {
		d := &out.Deployments[i]
		if d.Environment == "" {
			d.Environment = o.environment
		}
		if d.Owner == "" {
			d.Owner = o.owner
		}
	}
	slices.SortStableFunc(out.Deployments, func(a, b deployment.Deployment) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

func (o *whereOptions) readOne(ctx context.Context, where string) (deployment.Inventory, error) {
	if kube, ok := strings.CutPrefix(where, "kube"); ok && (kube == "" || kube[0] == ':') {
		return o.readCluster(ctx, strings.TrimPrefix(kube, ":"))
	}
	info, err := os.Stat(where)
	if err != nil {
		return deployment.Inventory{}, fileProblem(where, err)
	}
	opt := deployment.Options{Name: o.cluster, Variables: environment(os.Environ())}
	if info.IsDir() {
		root, err := os.OpenRoot(where)
		if err != nil {
			return deployment.Inventory{}, fileProblem(where, err)
		}
		defer root.Close()
		return deployment.Read(root.FS(), filepath.ToSlash(where), opt)
	}
	text, err := readFile(where, maxListFile)
	if err != nil {
		return deployment.Inventory{}, err
	}
	return deployment.ReadFile(filepath.ToSlash(where), text, opt)
}

// environment are the environment variables that a helmfile may ask for: none
// that is a secret of ours.
func environment(environ []string) map[string]string {
	out := map[string]string{}
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok && !strings.HasPrefix(name, "CHARTKEEP_") {
			out[name] = value
		}
	}
	return out
}

func (o *whereOptions) readCluster(ctx context.Context, kubeContext string) (deployment.Inventory, error) {
	objects, err := cluster.Read(ctx, cluster.Config{Kubeconfig: o.kubeconfig, Context: kubeContext, Namespace: o.namespace, Timeout: 2 * time.Minute})
	if err != nil {
		return deployment.Inventory{}, err
	}
	name := objects.Context
	if o.cluster != "" {
		name = o.cluster
	}
	v := deployment.ReadObjects(slices.Concat(objects.Storage, objects.Manifest), name, "context "+objects.Context, deployment.Options{})
	v.Problems = append(objects.Problems, v.Problems...)
	return v, nil
}

// needFrom wants at least one place.
func (o *whereOptions) needFrom(example string) error {
	if len(o.from) == 0 {
		return usage("--from says where deployments are read, and is missing").try("%s", example)
	}
	return nil
}

// tellProblems warns of what could not be read.
func (a *app) tellProblems(problems []string) {
	const most = 20
	for i, p := range problems {
		if i == most {
			a.warn("%d more could not be read; -o json lists them", len(problems)-most)
			return
		}
		a.warn("%s", p)
	}
}

// severities from the least.
var severities = []string{"info", "low", "medium", "high", "critical"}

// findingsAt says whether a finding is at least as severe as --fail-on.
func findingsAt(findings []deployment.Finding, failOn string) (bool, error) {
	if failOn == "" {
		return false, nil
	}
	least := slices.Index(severities, failOn)
	if least < 0 {
		return false, usage("--fail-on %s is no severity", failOn).try("--fail-on %s", strings.Join(severities, "|"))
	}
	return slices.ContainsFunc(findings, func(f deployment.Finding) bool { return slices.Index(severities, f.Severity) >= least }), nil
}
