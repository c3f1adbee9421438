import Testing

extension PodTests {
    @Test("user, groups, capabilities, masked and read-only paths of a security context hold, also for an exec")
    func securityContext() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp context '{"linux": {"security_context": {"supplemental_groups": [3000]}}}')
            context() { echo '{"linux": {"security_context": {'"$1"'}}}'; }
            id=$(run $pod user "$(context '"run_as_user": {"value": 1000}, "run_as_group": {"value": 2000},
                "supplemental_groups": [3000, 4000], "no_new_privs": true, "readonly_rootfs": true')" -- sh -c 'id -u; id -G; sleep 1000')
            eventually grep -q 3000 cri/logs/context/user.log; cri logs $id
            x $id sh -c 'id -u; id -G; touch /x 2>&1 | grep -c Read-only; grep -E "CapEff|NoNewPrivs" /proc/self/status | tr -s "\t" " "'
            # procMount: kubelet gives lists for Default, and none for Unmasked.
            look='wc -c < /proc/keys; echo 1 2> /dev/null > /proc/sys/vm/drop_caches && echo writable || echo closed'
            id=$(run $pod default "$(context '"masked_paths": ["/proc/keys"], "readonly_paths": ["/proc/sys"]')" -- sleep 1000)
            x $id sh -c "$look" | sed 's/^[1-9][0-9]*$/some/'
            id=$(run $pod unmasked "$(context '"apparmor": {"profile_type": "Unconfined"}')" -- sleep 1000); x $id sh -c "$look" | sed 's/^[1-9][0-9]*$/some/'
            id=$(run $pod few "$(context '"capabilities": {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["ALL"]}')" -- sleep 1000)
            x $id grep CapEff /proc/self/status | tr -s '\t' ' '
            cri rmp $pod; left
            """)
        #expect(
            outcome.output == """
                1000
                2000 3000 4000
                1000
                2000 3000 4000
                1
                CapEff: 0000000000000000
                NoNewPrivs: 1
                0
                closed
                some
                writable
                CapEff: 0000000000001000

                """, "\(outcome.error)")
    }

    @Test("a privileged container gets links, filters and file systems that its guest's kernel has as modules")
    func modules() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp mods '{"linux": {"security_context": {"privileged": true}}}')
            id=$(run $pod all '{"linux": {"security_context": {"privileged": true}}}' -- sleep 1000)
            for link in 'dum0 type dummy' 'br0 type bridge' 've0 type veth peer name ve1' 'link dum0 name vl0 type vlan id 5' \
                'link dum0 name mac0 type macvlan'; do x $id ip link add $link && echo $link; done
            x $id sh -c 'mkdir /m; for type in overlay btrfs; do mount -t $type none /m 2> /dev/null; grep -cw $type /proc/filesystems; done'
            plain=$(run $pod plain -- sleep 1000); x $plain ip link add dum1 type dummy 2>&1 | grep -c 'not permitted'
            cri rmp $pod; left
            """)
        #expect(
            outcome.output == """
                dum0 type dummy
                br0 type bridge
                ve0 type veth peer name ve1
                link dum0 name vl0 type vlan id 5
                link dum0 name mac0 type macvlan
                1
                \(Lab.hasOwnKernel ? 0 : 1)
                1

                """, "\(outcome.error)")
    }
}
