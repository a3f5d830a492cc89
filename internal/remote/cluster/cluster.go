// Package cluster reads what runs in Kubernetes clusters, and writes nothing
// there: Helm's storage, and the objects by which Argo CD and Flux say what
// should run.
//
// What always holds:
//
//   - Only list and get are asked for. What the account may not read is a
//     problem in the inventory, with the right that is missing; it is never
//     taken for an empty cluster.
//   - Of Helm's storage, names and labels are read first, and then the newest
//     revisions alone: old revisions are most of it.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Config says what to read.
type Config struct {
	Kubeconfig string // file; "" is KUBECONFIG, then ~/.kube/config
	Context    string // "" is the current one; where there is no kubeconfig, the cluster that the process is a pod of
	Namespace  string // "" is all
	Timeout    time.Duration
}

// Limits of one cluster.
const (
	pageSize    = 500     // objects a request
	maxObjects  = 200_000 // of one kind
	maxReleases = 20_000  // whose newest revision is read
)

// Objects is what was read of a cluster, for package deployment.
type Objects struct {
	Context  string   // its name in the kubeconfig, or in-cluster
	Storage  [][]byte // Secrets and ConfigMaps of Helm's storage, JSON, one each release
	Manifest [][]byte // Applications, HelmReleases and what they refer to, JSON
	Problems []string // what could not be read
}

// Read reads one cluster. Its error is a problem of kind Unavailable or
// Invalid when nothing could be read at all. Cost: a page of labels for every
// 500 revisions and one request for each release.
func Read(ctx context.Context, cfg Config) (Objects, error) {
	rc, name, err := restConfig(cfg)
	if err != nil {
		return Objects{}, err
	}
	rc.Timeout = cfg.Timeout
	rc.UserAgent = "chartkeep"
	rc.QPS, rc.Burst = 50, 100
	// What is read is foreign: a server that answers without end must not fill
	// the memory. Pages of 500 objects of at most 1 MiB bound it.
	meta, err := metadata.NewForConfig(rc)
	if err != nil {
		return Objects{}, unreadable(name, err)
	}
	dyn, err := dynamic.NewForConfig(rc)
	if err != nil {
		return Objects{}, unreadable(name, err)
	}
	r := reader{ctx: ctx, meta: meta, dyn: dyn, namespace: cfg.Namespace, out: Objects{Context: name}}
	if err := r.storage(); err != nil {
		return Objects{}, err
	}
	r.gitops()
	return r.out, nil
}

func loading(cfg Config) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if cfg.Kubeconfig != "" {
		rules.ExplicitPath = cfg.Kubeconfig
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: cfg.Context})
}

// inCluster is the access that a pod has by its service account.
var inCluster = rest.InClusterConfig

func restConfig(cfg Config) (*rest.Config, string, error) {
	l := loading(cfg)
	raw, err := l.RawConfig()
	if err != nil {
		return nil, "", badKubeconfig(err)
	}
	name := cfg.Context
	if name == "" {
		name = raw.CurrentContext
	}
	if len(raw.Contexts) == 0 && cfg.Context == "" && cfg.Kubeconfig == "" {
		if rc, err := inCluster(); err == nil {
			return rc, "in-cluster", nil
		} else if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, "", problem.New(problem.Invalid, "service-account", "the service account of this pod cannot be used").With("reason", "%.400s", err.Error()).
				Suggest("set automountServiceAccountToken, or give a kubeconfig")
		}
	}
	if _, ok := raw.Contexts[name]; !ok {
		known := make([]string, 0, len(raw.Contexts))
		for k := range raw.Contexts {
			known = append(known, k)
		}
		slices.Sort(known)
		return nil, "", problem.New(problem.Invalid, "kube-context", "the kubeconfig has no context %q", name).
			With("contexts", "%s", strings.Join(known, ", ")).
			Suggest("kubectl config get-contexts")
	}
	rc, err := l.ClientConfig()
	if err != nil {
		return nil, "", badKubeconfig(err)
	}
	return rc, name, nil
}

func badKubeconfig(err error) error {
	return problem.New(problem.Invalid, "kubeconfig", "the kubeconfig cannot be used").With("reason", "%.400s", err.Error()).
		Suggest("kubectl config view").Because(err)
}

func unreadable(name string, err error) error {
	p := problem.New(problem.Unavailable, "cluster", "the cluster of context %s cannot be read", name).With("reason", "%.400s", reason(err)).Because(err)
	switch {
	case apierrors.IsUnauthorized(err):
		return p.Suggest("sign in to the cluster again: kubectl --context %s get --raw /version", name)
	case apierrors.IsForbidden(err):
		return p.Suggest("give the account the right to list Secrets, or name one namespace")
	}
	return p.Suggest("kubectl --context %s get --raw /version", name)
}

// reason words an error without the request's whole URL.
func reason(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

type reader struct {
	ctx       context.Context
	meta      metadata.Interface
	dyn       dynamic.Interface
	namespace string
	out       Objects
}

// revision is the newest stored revision of a release that counts.
type revision struct {
	namespace, object string
	number            int
	deployed          bool
}

var (
	secrets    = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

// storage reads both places in which Helm keeps releases.
func (r *reader) storage() error {
	for _, kind := range []schema.GroupVersionResource{secrets, configMaps} {
		newest, err := r.newest(kind)
		if err != nil {
			if kind == secrets { // where Helm keeps releases by default
				return unreadable(r.out.Context, err)
			}
			r.out.Problems = append(r.out.Problems, fmt.Sprintf("%s of Helm's storage could not be listed: %s", kind.Resource, reason(err)))
			continue
		}
		for _, v := range newest {
			o, err := r.dyn.Resource(kind).Namespace(v.namespace).Get(r.ctx, v.object, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue // an upgrade pruned it meanwhile; the next reading has the newer one
			}
			if err == nil {
				var text []byte
				if text, err = o.MarshalJSON(); err == nil {
					r.out.Storage = append(r.out.Storage, text)
					continue
				}
			}
			r.out.Problems = append(r.out.Problems, fmt.Sprintf("%s/%s of Helm's storage could not be read: %s", v.namespace, v.object, reason(err)))
		}
	}
	return nil
}

// newest finds the revision of each release that says what runs: the newest
// that is deployed, or the newest of all where none is. Labels alone are read.
func (r *reader) newest(kind schema.GroupVersionResource) ([]revision, error) {
	found := map[string]revision{}
	seen, next := 0, ""
	for {
		list, err := r.meta.Resource(kind).Namespace(r.namespace).List(r.ctx, metav1.ListOptions{LabelSelector: "owner=helm", Limit: pageSize, Continue: next})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			o := &list.Items[i]
			number, err := strconv.Atoi(o.Labels["version"])
			if err != nil || o.Labels["name"] == "" {
				continue // not one of Helm's
			}
			key := o.Namespace + "/" + o.Labels["name"]
			v := revision{o.Namespace, o.Name, number, o.Labels["status"] == "deployed"}
			if was, ok := found[key]; !ok || v.deployed && !was.deployed || v.deployed == was.deployed && v.number > was.number {
				found[key] = v
			}
		}
		if seen += len(list.Items); seen > maxObjects || len(found) > maxReleases {
			return nil, problem.New(problem.TooLarge, "cluster-size", "the cluster holds more than %d stored revisions or %d releases", maxObjects, maxReleases).
				Suggest("read it namespace by namespace")
		}
		if next = list.Continue; next == "" {
			break
		}
	}
	out := make([]revision, 0, len(found))
	for _, v := range found {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b revision) int {
		return strings.Compare(a.namespace+"/"+a.object, b.namespace+"/"+b.object)
	})
	return out, nil
}

// described are the kinds that say what should run. Where a cluster does not
// have a kind, there is nothing of it.
var described = []schema.GroupVersionResource{
	{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"},
	{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"},
	{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"},
	{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "helmrepositories"},
	{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"},
	{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "helmcharts"},
}

func (r *reader) gitops() {
	for _, kind := range described {
		seen, next := 0, ""
		for {
			list, err := r.dyn.Resource(kind).Namespace(r.namespace).List(r.ctx, metav1.ListOptions{Limit: pageSize, Continue: next})
			if apierrors.IsNotFound(err) {
				break
			}
			if err != nil {
				r.out.Problems = append(r.out.Problems, fmt.Sprintf("%s.%s could not be listed: %s", kind.Resource, kind.Group, reason(err)))
				break
			}
			for i := range list.Items {
				text, err := json.Marshal(&list.Items[i])
				if err != nil {
					r.out.Problems = append(r.out.Problems, fmt.Sprintf("%s %s/%s: %v", kind.Resource, list.Items[i].GetNamespace(), list.Items[i].GetName(), err))
					continue
				}
				r.out.Manifest = append(r.out.Manifest, text)
			}
			if seen += len(list.Items); seen > maxObjects {
				r.out.Problems = append(r.out.Problems, fmt.Sprintf("%s.%s: only the first %d were read", kind.Resource, kind.Group, seen))
				break
			}
			if next = list.GetContinue(); next == "" {
				break
			}
		}
	}
}
