import Foundation
import Testing

@Suite(
    "Docker and Podman with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct ManagersTests {
    @Test("Docker: services are found by their names on a network of their own, and by their published ports")
    func dockerNames() throws {
        let outcome = try withDocker(
            """
            d network create net > /dev/null
            run -d --name web --network net -p 18080:80 busybox sh -c 'echo page > /tmp/index.html; httpd -f -h /tmp' > /dev/null
            run --network net busybox sh -c 'wget -qO- http://web/; nslookup web 127.0.0.11 | grep -c 172'
            inside /bin/busybox wget -qO- http://127.0.0.1:18080/
            inside /bin/busybox ping -c 1 172.18.0.2 | grep -c '1 packets received'
            """)
        #expect(outcome.output == "page\n1\npage\n1\n", "\(outcome.error)")
    }

    @Test("Docker: streams, status, limits, copies, exec, pause and stop are as under any runtime")
    func dockerDay() throws {
        let outcome = try withDocker(
            """
            echo input | run -i busybox cat
            run --user 1000:1000 -e A=b -w /tmp --pids-limit 33 busybox sh -c 'id -u; echo $A; pwd; cat /sys/fs/cgroup/pids.max; exit 7'
            echo $?
            d run -d --name day --runtime kata -m 64m -v $PWD/rootfs/etc:/v:ro busybox \
                sh -c 'trap "exit 5" TERM; echo started; while :; do sleep 0.1; done' > /dev/null
            d exec day cat /sys/fs/cgroup/memory.max
            d update -m 80m --memory-swap 80m day > /dev/null; d exec day cat /sys/fs/cgroup/memory.max
            echo copied > file; d cp file day:/tmp/file; d exec day cat /tmp/file; d cp day:/tmp/file - | tar -xO
            d exec day touch /v/x 2>&1 | grep -c Read-only
            d pause day > /dev/null; d inspect -f '{{.State.Status}}' day; d unpause day > /dev/null
            d logs day; d stop -t 10 day > /dev/null; d inspect -f '{{.State.ExitCode}}' day
            d start day > /dev/null; d exec day cat /tmp/file; d rm -f day > /dev/null
            """)
        #expect(
            outcome.output
                == "input\n1000\nb\n/tmp\n33\n7\n67108864\n83886080\ncopied\ncopied\n1\npaused\nstarted\n5\ncopied\n",
            "\(outcome.error)")
    }

    @Test(
        "Docker: a container that joins another one's network gets into its machine; what can't be had is refused in our words"
    )
    func dockerJoins() throws {
        let outcome = try withDocker(
            """
            run --network host busybox true 2>&1 | grep -c 'host networking is not possible'
            d run -d --name other --runtime kata --ipc shareable busybox sh -c 'echo page > /tmp/index.html; echo ours > /dev/shm/f; httpd -h /tmp; sleep 1000' > /dev/null
            run --network container:other busybox wget -qO- http://127.0.0.1/
            run --network container:other --ipc container:other --pid container:other busybox sh -c \
                'readlink /proc/self/ns/ipc; cat /dev/shm/f; stat -f -c %T /dev/shm; ps | grep -c [s]leep\\ 1000'> joined; d exec other readlink /proc/self/ns/ipc > owns
            head -1 joined | cmp - owns && tail -n +2 joined
            run --pid container:other busybox true 2>&1 | grep -c 'which has a machine of its own: join its network too'
            run -d --name late --network container:other busybox sleep 1000 > /dev/null; machines
            d restart -t 0 other > /dev/null; d exec late echo stays; d exec other wget -qO- http://127.0.0.1/; machines
            run --network none busybox ip link | grep -c mtu
            d rm -f other late > /dev/null; ls exec/runtime-runc/moby | wc -l; machines; ip -n $ns link | grep -c veth
            """)
        #expect(
            outcome.output == "1\npage\nours\ntmpfs\n1\n1\n1\nstays\npage\n2\n1\n0\n0\n0\n", "\(outcome.error)")
    }

    @Test(
        "Podman: the containers of a pod share one machine, its network, names and memory; pods are restarted, and come from YAML"
    )
    func podmanPods() throws {
        let outcome = try withPodman(
            """
            tar -C rootfs -c . | p import --change 'CMD ["/bin/sh", "-c", "trap exit TERM; sleep 10000 & wait"]' - infra > /dev/null 2>&1
            echo 'infra_image = "localhost/infra"' >> containers.conf
            p pod create --name pod --infra-image localhost/infra -p 18083:80 > /dev/null
            p run -d --pod pod --name web --stop-timeout 0 busybox sh -c 'echo page > /tmp/index.html; exec httpd -f -h /tmp' > /dev/null
            p run --rm --pod pod busybox wget -qO- http://127.0.0.1/; inside /bin/busybox wget -qO- http://127.0.0.1:18083/
            p run --rm --pod pod busybox sh -c 'hostname; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts' > one
            p exec web sh -c 'hostname; readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts' > other; cmp one other; head -1 one
            machines; p pod inspect pod | jq -r '.State, .NumContainers'
            p pod restart pod > /dev/null; p pod restart pod > /dev/null; machines
            for i in $(seq 400); do p exec web wget -qO- http://127.0.0.1/ 2> /dev/null && break; sleep 0.2; done
            p generate kube pod > pod.yaml; p pod rm -f -t 0 pod > /dev/null 2>&1; machines
            p play kube pod.yaml > /dev/null; p exec pod-web wget -qO- http://127.0.0.1/
            p play kube --down pod.yaml > /dev/null 2>&1; p ps -aq | wc -l; machines
            """)
        #expect(
            outcome.output == "page\npage\npod\n1\nRunning\n2\n1\npage\n0\npage\n0\n0\n", "\(outcome.error)")
    }

    @Test(
        "Docker: options of a run, restarts, health, signals, names, images of containers, and input of any size are as under any runtime"
    )
    func dockerRest() throws {
        let outcome = try withDocker(
            #"""
            head -c 100M /dev/zero | run -i busybox wc -c
            run --ulimit nofile=100:200 --cap-drop ALL --cap-add NET_ADMIN --security-opt no-new-privileges --hostname named --read-only \
                --add-host a:1.2.3.4 --dns 9.9.9.9 --sysctl net.ipv4.ip_forward=1 --tmpfs /t:size=1m --shm-size 2m --init -v vol:/vol busybox sh -c '
                ulimit -n; grep -E "CapEff|NoNew" /proc/self/status | tr -s "\t" " "; hostname; grep -c "1.2.3.4.*a" /etc/hosts
                grep -c 9.9.9.9 /etc/resolv.conf; cat /proc/sys/net/ipv4/ip_forward; touch /x 2>&1 | grep -c Read-only
                df -k /t /dev/shm | awk "NR > 1 {print \$2}"; cat /proc/1/comm; echo kept > /vol/x'
            d run --rm --runtime kata --mount type=volume,src=vol,dst=/v,readonly busybox cat /v/x
            d run -d --name again --restart on-failure:2 --runtime kata busybox sh -c 'exit 3' > /dev/null
            d run -d --name day --runtime kata --stop-signal USR1 --stop-timeout 20 --health-cmd 'test -e /ok' --health-interval 1s busybox \
                sh -c 'trap "exit 9" USR1; trap "echo hup" HUP; while :; do sleep 0.1; done' > /dev/null
            d exec day touch /ok; d kill -s HUP day > /dev/null; d rename day night; d commit night kept > /dev/null
            run kept test -e /ok; echo "commit $?"; d diff night | grep -c /ok
            for i in $(seq 400); do [ "$(d inspect -f '{{.State.Health.Status}}' night)" = healthy ] && break; sleep 0.1; done
            d inspect -f '{{.State.Health.Status}}' night; d logs night
            d wait night & d stop night > /dev/null; wait $!
            for i in $(seq 400); do [ "$(d inspect -f '{{.RestartCount}} {{.State.Status}}' again)" = "2 exited" ] && break; sleep 0.1; done
            d inspect -f '{{.RestartCount}} {{.State.ExitCode}}' again
            d rm -f again night > /dev/null; machines
            """#)
        #expect(
            outcome.output == """
                104857600
                100
                CapEff: 0000000000001000
                NoNewPrivs: 1
                named
                1
                1
                1
                1
                1024
                2048
                docker-init
                kept
                commit 0
                1
                healthy
                hup
                9
                2 3
                0

                """, "\(outcome.error)")
    }

    @Test("docker-compose: an application of two services that talk by name comes up and goes down")
    func compose() throws {
        let outcome = try withDocker(
            """
            mkdir app; cat > app/docker-compose.yml <<X
            services:
              web:
                image: busybox
                runtime: kata
                command: sh -c 'echo page > /tmp/index.html; exec httpd -f -h /tmp'
                volumes: [data:/data]
                secrets: [word]
              client:
                image: busybox
                runtime: kata
                depends_on: [web]
                command: sh -c 'until wget -qO- http://web/; do sleep 0.2; done; echo kept > /data/x; exec sleep 1000'
                volumes: [data:/data]
            volumes:
              data: {}
            secrets:
              word: {file: ./word}
            X
            echo sesame > app/word
            c() { DOCKER_HOST=unix://$PWD/docker.sock docker-compose -f app/docker-compose.yml --no-ansi "$@" 2>> compose.log; }
            c up -d; for i in $(seq 400); do c logs client | grep -o 'page$' && break; sleep 0.2; done
            c exec -T web cat /data/x /run/secrets/word; c ps -q | wc -l; c restart -t 0 web; c exec -T client wget -qO- http://web/
            c down -v -t 0; d ps -aq | wc -l; d network ls -q | wc -l; d volume ls -q | wc -l; machines
            """)
        #expect(outcome.output == "page\nkept\nsesame\n2\npage\n0\n3\n0\n0\n", "\(outcome.error)")
    }

    @Test("Podman: networks, published ports, exec, user namespaces and status; the host's network is refused")
    func podman() throws {
        let outcome = try withPodman(
            """
            p network create net > /dev/null
            p run -d --name web --network net -p 18081:80 -v $PWD/rootfs/etc:/v:z busybox \
                sh -c 'echo page > /tmp/index.html; httpd -f -h /tmp' > /dev/null
            p exec web test -e /v/passwd; echo exec $?
            echo input | p exec -i web cat
            inside /bin/busybox wget -qO- http://127.0.0.1:18081/
            p run --rm --network net busybox wget -qO- http://web/
            p run --rm --uidmap 0:100000:5000 busybox sh -c 'cat /proc/self/uid_map | tr -s " "; exit 9'; echo $?
            p run --rm --network host busybox true 2>&1 | grep -c 'host networking is not possible'
            p inspect -f '{{.State.Status}}' web; p rm -f -t 1 web > /dev/null 2>&1; p ps -aq | wc -l
            """)
        #expect(
            outcome.output == "exec 0\ninput\npage\npage\n 0 100000 5000\n9\n1\nrunning\n0\n", "\(outcome.error)")
    }
}
