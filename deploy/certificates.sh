#!/bin/sh
# Certificates to try the gateway with: an authority for the devices of one organization, one for the server, and one for
# the person $2 on the endpoint $3. `certificates.sh FOLDER PERSON ENDPOINT`. Makes nothing that is there already.
set -eu
cd "$1"
umask 077
make() { # name, subject, extra arguments
    name=$1 subject=$2
    shift 2
    [ -f "$name.pem" ] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
        -subj "$subject" -keyout "$name.key" -out "$name.pem" "$@" 2>/dev/null
}
make devices "/CN=Devices"
make server "/CN=localhost" -addext "subjectAltName=DNS:localhost,IP:127.0.0.1"
make "$2" "/OU=$3/CN=$2" -CA devices.pem -CAkey devices.key
