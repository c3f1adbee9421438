import Testing

extension ManagersTests {
    @Test("Docker: mounts of all forms, nested and propagated ones, and copies to and from a stopped container")
    func dockerFiles() throws {
        let outcome = try withDocker(
            """
            mkdir -p src/sub over shared; echo f > src/file; mount --bind shared shared; mount --make-rshared shared; mount -t tmpfs none over; echo o > over/o
            mount --bind over src/sub; mkdir shared/m
            d run -d --name all --runtime kata -v vol:/v -v $PWD/src:/v/n:ro -v vol:/w:ro -v /anonymous -v $PWD/shared:/p:rslave \
                --mount type=bind,src=$PWD/src,dst=/whole --mount type=bind,src=$PWD/src,dst=/one,bind-nonrecursive,bind-propagation=private \
                --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 -v $PWD/src:/dev/d -v $PWD/src/file:/dev/termination-log \
                -v /sys/fs/cgroup:/sys/fs/cgroup:ro --ipc host busybox sh -c 'touch /v/y /anonymous/a /dev/shm/guests; sleep 1000' > /dev/null
            mount -t tmpfs none shared/m; echo late > shared/m/late
            d exec all sh -c 'cat /v/n/file /whole/sub/o /p/m/late; ls /one/sub; ls /w | tr "\\n" " "; touch /v/n/x /v/n/sub/x /w/x 2>&1 | grep -c Read-only
                stat -c %a /t; df -k /t | tail -1 | tr -s " " | cut -d " " -f 2; cat /dev/d/file; echo bye > /dev/termination-log
                ls /sys/fs/cgroup/cgroup.procs; ls -d /dev/shm/guests'
            cat src/file; ls /dev/shm/guests 2>&1 | grep -c 'No such'
            umount -l shared/m shared src/sub over
            d create --name still --runtime kata -v /kept busybox cat /tmp/in > /dev/null
            echo put > in; d cp in still:/tmp/in; d start -a still; run --volumes-from still busybox ls -d /kept; d cp still:/tmp/in - | tar -xO; mkdir tree; echo leaf > tree/leaf; d cp tree still:/tmp; d cp still:/tmp/tree/leaf out; cat out
            d commit -c 'CMD ["cat", "/tmp/tree/leaf"]' still image > /dev/null; run image; note d; d rm -fv all still > /dev/null; left; d volume ls -q
            """)
        #expect(
            outcome.output == """
                f
                o
                late
                n y 2
                1770
                1024
                f
                /sys/fs/cgroup/cgroup.procs
                /dev/shm/guests
                bye
                1
                put
                /kept
                put
                leaf
                leaf
                vol

                """, "\(outcome.error)")
    }

    @Test(
        "Podman: copies reach a running container and never the host; its own processes are listed; secrets, health, limits"
    )
    func podmanDay() throws {
        let outcome = try withPodman(
            """
            echo put > kata-copied; mkdir vol; echo sesame > s; p secret create sec s > /dev/null
            p run -d --name day --stop-signal USR1 --pids-limit 44 --cpus 1.5 -m 64m --health-cmd 'test -e /ok' --tmpfs /t -v $PWD/vol:/vol -v $PWD/vol:$PWD/vol -v $PWD/vol:/ro:ro \
                --secret sec --secret sec,type=env,target=S --secret sec,mode=0400,uid=5,target=other busybox \
                sh -c 'trap "exit 9" USR1; trap "echo hup" HUP; while :; do sleep 0.1; done' > /dev/null 2>&1
            p cp kata-copied day:/tmp/; p cp kata-copied day:/vol/; p cp kata-copied day:$PWD/vol/same; p exec day cat /tmp/kata-copied /vol/kata-copied /vol/same; ls /tmp/kata-copied 2>&1 | grep -c 'No such'
            p exec day ln -s ../../../../../tmp /root/out; p cp kata-copied day:/root/out/kata-linked; p exec day cat /tmp/kata-linked; ls /tmp/kata-linked 2>&1 | grep -c 'No such'
            p exec day sh -c 'echo got > /root/file'; p cp day:/root/file got; cat got vol/kata-copied
            p cp kata-copied day:/ro/ 2>&1 | grep -c 'read-only'; p cp kata-copied day:/t/ 2>&1 | grep -c 'read-only'
            p top day pid comm | tr -s ' '; p top day -ef | grep -c '[s]h -c trap'
            p exec day sh -c 'cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max /run/secrets/sec; echo $S; ls -ln /run/secrets/other | tr -s " " | cut -d " " -f 1,3'
            p update --memory 80m day > /dev/null; p exec day cat /sys/fs/cgroup/memory.max
            p healthcheck run day; echo $?; p exec day touch /ok; p healthcheck run day; echo $?
            p kill -s HUP day > /dev/null; p pause day > /dev/null; p inspect -f '{{.State.Status}}' day; p unpause day > /dev/null; p logs day
            p rename day night; p commit -q night image > /dev/null; p run --rm image cat /tmp/kata-copied; p diff night | grep -c kata-copied
            p wait night & p stop -t 10 night > /dev/null; wait $!
            p cp night:/tmp/kata-copied out; cat out; p cp out night:/tmp/again; p start night > /dev/null; p exec night cat /tmp/again
            p run -d --name fails --restart on-failure:1 busybox sh -c 'exit 3' > /dev/null
            for i in $(seq 400); do [ "$(p inspect -f '{{.RestartCount}} {{.State.Status}}' fails)" = "1 exited" ] && break; sleep 0.1; done
            p inspect -f '{{.RestartCount}} {{.State.ExitCode}}' fails; note p; p rm -fa -t 0 > /dev/null 2>&1; left
            """)
        #expect(
            outcome.output == """
                put
                put
                put
                1
                put
                1
                got
                put
                1
                1
                PID COMMAND
                1 kata-runtime
                1
                44
                150000 100000
                67108864
                sesame
                sesame
                -r-------- 5
                83886080
                unhealthy
                1
                0
                paused
                hup
                put
                1
                9
                put
                put
                1 3

                """, "\(outcome.error)")
    }

    @Test(
        "Podman: mounts of all forms, nested and propagated ones, layers and images; the kernel's own files are the guest's; a pod shares memory and locks"
    )
    func podmanFiles() throws {
        let outcome = try withPodman(
            #"""
            mkdir -p src/sub over shared; echo f > src/file; mount --bind shared shared; mount --make-rshared shared; mount -t tmpfs none over; echo o > over/o
            mount --bind over src/sub; mkdir shared/m
            p run -d --name all -v vol:/v -v $PWD/src:/v/n:ro -v /anonymous -v $PWD/shared:/p:rslave -v $PWD/src:/layers:O \
                --mount type=volume,src=vol,dst=/w,ro=true --mount type=bind,src=$PWD/src,dst=/whole \
                --mount type=bind,src=$PWD/src,dst=/one,bind-nonrecursive,bind-propagation=private --mount type=image,src=busybox,dst=/image \
                --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 -v $PWD/src:/dev/d -v $PWD/src/file:/dev/termination-log \
                -v /proc:/proc -v /sys:/sys:ro -v /sys/fs/cgroup:/sys/fs/cgroup:ro busybox sh -c 'touch /v/y /anonymous/a; echo x > /layers/new; sleep 1000' > /dev/null
            mount -t tmpfs none shared/m; echo late > shared/m/late
            p exec all sh -c 'cat /v/n/file /whole/sub/o /p/m/late; ls /one/sub; ls /w | tr "\n" " "; touch /v/n/x /v/n/sub/x /w/x /image/x 2>&1 | grep -c Read-only
                stat -c %a /t; df -k /t | tail -1 | tr -s " " | cut -d " " -f 2; cat /dev/d/file /layers/file /layers/new; echo bye > /dev/termination-log
                readlink /image/bin/ls; cat /proc/1/comm; ls /sys/fs/cgroup/cgroup.procs; touch /sys/x 2>&1 | grep -c Read-only'
            cat src/file; ls src; umount -l shared/m shared src/sub over
            p run --rm --volumes-from all busybox ls -d /anonymous/a 2> /dev/null; p rm -f -t 0 all > /dev/null
            inside timeout 120 python3 -c 'import pty, sys; pty.spawn(sys.argv[1:])' podman --root $PWD/graph --runroot $PWD/runroot --tmpdir $PWD/tmp --runtime $PWD/kata \
                run --rm -t -v /dev:/dev busybox sh -c 'tty; ls -1d /dev/shm /dev/mqueue; ls /dev | grep -cE "^(sd|vd|loop[0-9])"' < /dev/null | tr -d '\r'
            tar -C rootfs -c . | p import --change 'CMD ["/bin/sleep", "10000"]' - infra > /dev/null 2>&1
            p pod create --name pod --infra-image localhost/infra > /dev/null; echo 'infra_image = "localhost/infra"' >> containers.conf
            echo 'open F, ">>", "/d/lock"; print flock(F, 2 | 4) ? "free\n" : "locked\n"; close STDOUT; sleep shift' > lock
            in="--pod pod -v locks:/d -v $PWD/lock:/lock -v /lib:/lib:ro -v /lib64:/lib64:ro -v /usr:/usr:ro busybox"
            p run -d --name one $in sh -c 'echo ours > /dev/shm/f; exec perl /lock 1000' > /dev/null
            p exec one sh -c 'until [ -s /dev/shm/f ]; do sleep 0.1; done'; p run --rm --pod pod busybox sh -c 'cat /dev/shm/f; stat -f -c %T /dev/shm; rm /dev/shm/f'
            p exec one ls -A /dev/shm; echo x > x; p cp x one:/dev/shm/ 2>&1 | grep -c 'read-only'
            for i in $(seq 400); do p logs one | grep free && break; sleep 0.1; done; p run -d --name two $in sleep 1000 > /dev/null; p exec two perl /lock 0
            p rm -f -t 0 one > /dev/null; p exec two perl /lock 0; p run --rm --name one $in ls /d/lock; p exec two ls /d/lock
            note p; p pod rm -f -t 0 pod > /dev/null 2>&1; left
            """#)
        #expect(
            outcome.output == """
                f
                o
                late
                n y 3
                1770
                1024
                f
                f
                x
                busybox
                sleep
                /sys/fs/cgroup/cgroup.procs
                1
                bye
                file
                sub
                /anonymous/a
                /dev/pts/0
                /dev/mqueue
                /dev/shm
                0
                ours
                tmpfs
                1
                free
                locked
                free
                /d/lock
                /d/lock

                """, "\(outcome.error)")
    }
}
