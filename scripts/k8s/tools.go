//go:build tools

// Package k8s pins the programs of a Kubernetes control plane for the tests of
// the launcher of that name; scripts/k8s/run builds them.
package k8s

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
