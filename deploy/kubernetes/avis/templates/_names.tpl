{{- define "avis.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The release's name, with the chart's unless it is in it already. */}}
{{- define "avis.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "avis.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "avis.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What runs: one node, or a process for each role. */}}
{{- define "avis.parts" -}}
{{- ternary "connectors authoriser pipelines warehouse" "node" .Values.roles.enabled -}}
{{- end -}}

{{/* The name of a part: `node` and `connectors`, which have the folder with the keys, have the release's. */}}
{{- define "avis.part" -}}
{{- $name := include "avis.fullname" .root -}}
{{- if has .part (list "node" "connectors") -}}{{ $name }}{{- else -}}{{ $name }}-{{ .part }}{{- end -}}
{{- end -}}

{{/* A part's doors. */}}
{{- define "avis.doors" -}}
{{- get (dict "node" "http grpc postgres flight" "connectors" "http" "authoriser" "http grpc" "pipelines" "http flight" "warehouse" "http postgres flight") . -}}
{{- end -}}

{{/* Every pod of the release. */}}
{{- define "avis.pods" -}}
app.kubernetes.io/name: {{ include "avis.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "avis.selector" -}}
{{ include "avis.pods" .root }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "avis.labels" -}}
{{ include "avis.pods" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: avis
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "avis.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* How the cluster asks the node. */}}
{{- define "avis.scheme" -}}
{{- if .Values.tls.secretName -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}
